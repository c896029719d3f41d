"""Hostile input: whatever is sent, the service answers with a reason and goes on."""

from __future__ import annotations

import base64
import io
import json
import random
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from unimr.data.images import open_picture
from unimr.service.service import Service

from ..index.small_index import WordEncoder
from .conftest import client_of, serve_params

KEYS = ["text", "image", "image_id", "lang", "k", "filters", "ignore_slots", "style", "category", "year", "year_from"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | st.sampled_from(["cat", "google"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | st.text(), inner, max_size=4),
    max_leaves=12,
)


class AnyPicture(WordEncoder):
    """Takes a picture of anything for some item."""

    def encode_images(self, images):
        colours = [open_picture(data).convert("RGB").getpixel((0, 0)) for data in images]
        return self.encode_texts([self.items[sum(colour) % len(self.items)]["en"] for colour in colours])


@pytest.fixture(scope="module")
def patient(small_root, tmp_path_factory):
    service = Service(serve_params(tmp_path_factory.mktemp("hostile")), small_root, {}, lambda folder: AnyPicture())
    with client_of(service) as client:
        yield client


def is_sound(answer) -> bool:
    """Answered, or refused with a reason."""
    return answer.status_code == 200 or (
        answer.status_code < 500 and set(answer.json()["error"]) == {"code", "message"}
    )


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.dictionaries(st.sampled_from(KEYS), JSON, max_size=5) | JSON)
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/v1/search"), ("POST", "/v1/understand"), ("PUT", "/v1/items/x")]
)
def test_no_json_is_a_fault(patient, method, path, value):
    body = json.dumps(value).encode()
    assert is_sound(patient.request(method, path, content=body, headers={"Content-Type": "application/json"}))


@settings(max_examples=200, deadline=None)
@given(path=st.text(max_size=40))
@pytest.mark.parametrize("under", ["/v1/pictures/", "/v1/items/", "/"])
def test_no_path_is_a_fault(patient, under, path):
    assert is_sound(patient.get(under + path.replace("?", "").replace("#", "").encode().hex()[:60] + "/..%2f"))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_no_mutated_picture_is_a_fault_or_hangs(patient, kind):
    chance, data = random.Random(7), io.BytesIO()
    Image.effect_noise((40, 40), 60).convert("RGB").save(data, format=kind)
    whole = data.getvalue()
    for _ in range(200):
        mutated = bytearray(whole[: chance.choice([len(whole), chance.randrange(1, len(whole))])])
        for _ in range(chance.randrange(1, 12)):
            mutated[chance.randrange(len(mutated))] = chance.randrange(256)
        started = time.perf_counter()
        assert is_sound(patient.post("/v1/search", json={"image": base64.b64encode(mutated).decode(), "k": 1}))
        assert time.perf_counter() - started < 2


@settings(max_examples=300, deadline=None)
@given(
    style=st.sampled_from(["google", "openmoji"]) | st.text(max_size=20),
    category=st.sampled_from(["Food & Drink", "food & drink", 'x" or year > 0 or category == "'])
    | st.text(max_size=20),
    year=st.integers(-5, 10_000),
)
def test_no_row_is_outside_the_filter(patient, style, category, year):
    asked = {"text": "cat", "filters": {"style": style, "category": category, "year_from": year}, "k": 50}
    answer = patient.post("/v1/search", json=asked)
    assert is_sound(answer)
    if answer.status_code == 200:
        for hit in answer.json()["hits"]:
            attributes = patient.get(f"/v1/items/{hit['item_id']}").json()["attributes"]
            assert hit["style"] == style.strip().lower() and attributes["category"] == "Food & Drink"
            assert attributes["year"] >= year
