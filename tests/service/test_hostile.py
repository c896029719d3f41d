"""Hostile input: whatever is sent, the service answers with a reason and goes on."""

from __future__ import annotations

import base64
import io
import json
import random
import time
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from unimr.data.images import open_picture
from unimr.data.text import normalise
from unimr.service.service import Service

from ..index.small_index import WordEncoder, all_items
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


def mutated(whole: bytes, chance: random.Random) -> bytes:
    """A picture that is cut off, has bytes of others in it, or has parts of itself twice or not at all."""
    data = bytearray(whole[: chance.choice([len(whole), chance.randrange(1, len(whole))])])
    for _ in range(chance.randrange(1, 12)):
        place, length = chance.randrange(len(data)), chance.choice([1, 1, 1, 4, 50])
        replacement = chance.choice([chance.randbytes(length), b"\xff" * length, b"\0" * length, b"", data[:length]])
        data[place : place + length] = replacement
        data = data or bytearray(b"\0")
    return bytes(data)


@pytest.mark.parametrize("count", [200, pytest.param(3_400, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_no_mutated_picture_is_a_fault_or_hangs(patient, kind, count):
    chance, statuses = random.Random(count), Counter()
    for number in range(count):
        side = chance.choice([16, 40, 200])
        if number % 100 == 0:
            data = io.BytesIO()
            Image.frombytes("RGB", (side, side), chance.randbytes(3 * side**2)).save(data, format=kind)
        started = time.process_time()
        sent = base64.b64encode(mutated(data.getvalue(), chance)).decode()
        answer = patient.post("/v1/search", json={"image": sent, "k": 1})
        assert is_sound(answer)
        statuses[answer.status_code] += 1
        assert time.process_time() - started < 2
    assert statuses[415] and statuses[422], statuses


HOSTILE = [
    "*", "%", "\0", "\\", '"', "''", "null", "style", "\u202egoogle",
    'x" or year > 0 or category == "', "' or 1==1", 'google" or style == "openmoji',
]  # fmt: skip
KNOWN = ["google", " OpenMoji ", "ｇｏｏｇｌｅ", "Food & Drink", "food & drink", "dark", "en"]
VALUES = st.text(max_size=20) | st.sampled_from(KNOWN + HOSTILE)
YEARS = st.integers(-5, 10_000) | st.sampled_from([2**31, 2**63, 2**64, -(2**63)])


def check_filters(patient, filters: dict[str, object], text: str) -> None:
    """Every result satisfies the filters as a reader understands them, soon: in time of this process."""
    started = time.process_time()
    answer = patient.post("/v1/search", json={"text": text, "filters": filters, "k": 50})
    assert is_sound(answer) and time.process_time() - started < 2
    for hit in answer.json()["hits"] if answer.status_code == 200 else ():
        has = all_items()[hit["item_id"]] | {"style": hit["style"]}
        for name, wanted in filters.items():
            if name in ("year_from", "year_to", "year"):
                year = int(has["year"])
                assert {"year_from": year >= wanted, "year_to": year <= wanted, "year": year == wanted}[name]
            elif name != "lang":
                allowed = [wanted] if isinstance(wanted, str) else wanted
                assert normalise(has[name]) in map(normalise, allowed)


FILTERS = st.dictionaries(
    st.sampled_from(["style", "category", "subcategory", "skin_tone", "gender", "lang"]),
    VALUES | st.lists(VALUES, max_size=3),
    max_size=2,
)
BOUNDS = st.dictionaries(st.sampled_from(["year", "year_from", "year_to"]), YEARS, max_size=2)
TEXTS = st.sampled_from(["cat", "dark hand", "all food", "like cat", "three animals 2015"])


@settings(max_examples=300, deadline=None)
@given(words=FILTERS, bounds=BOUNDS, text=TEXTS)
def test_no_row_is_outside_the_filter(patient, words, bounds, text):
    check_filters(patient, words | bounds, text)


@pytest.mark.slow
@settings(max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(words=FILTERS, bounds=BOUNDS, text=TEXTS)
def test_no_row_is_outside_any_of_ten_thousand_filters(patient, words, bounds, text):
    check_filters(patient, words | bounds, text)
