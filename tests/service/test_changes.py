from __future__ import annotations

import base64
import io
from hashlib import sha256

import pytest
from PIL import Image

from unimr.data.live import JOURNAL
from unimr.data.tables import read_table, write_table
from unimr.index.build import build
from unimr.index.embed import embed
from unimr.service.service import Service

from ..index.small_index import (
    NAMES,
    STYLES,
    VERSION,
    WordEncoder,
    index_params,
    params,
    word_encoder,
    write_tables,
)
from .conftest import client_of, publish_again, serve_params
from .test_app import items, search
from .test_engines import wait_until


def seen(name: str, style: str = "google") -> str:
    """A picture that the small encoder takes for an item of the small catalogue."""
    data = io.BytesIO()
    Image.new("RGB", (16, 16), (list(NAMES).index(name), STYLES.index(style), 7)).save(data, format="PNG")
    return base64.b64encode(data.getvalue()).decode()


def wolf(**changes: object) -> dict[str, object]:
    return {
        "attributes": {"category": "Animals & Nature", "year": "2024"},
        "texts": [
            {"lang": "en", "role": "name", "text": "wolf"},
            {"lang": "de", "role": "name", "text": "Wolf"},
            {"lang": "en", "role": "keyword", "text": "howling"},
        ],
        "pictures": [{"style": "google", "image": seen("fox")}],
        **changes,
    }


@pytest.fixture
def served(own_root, tmp_path):
    """Gives a client of a service over a project of its own; asked again, of a new one over the same project."""
    opened = []

    def start():
        if opened:
            opened.pop().__exit__(None, None, None)
        client = client_of(Service(serve_params(tmp_path), own_root, {}, word_encoder))
        opened.append(client)
        return client.__enter__()

    yield start
    opened.pop().__exit__(None, None, None)


def test_an_added_item_is_found_by_words_vectors_filters_and_picture(served):
    client = served()
    assert client.put("/v1/items/wolf", json=wolf()).status_code == 200
    found = search(client, text="wolf").json()["hits"][0]
    assert (found["item_id"], found["title"], found["text"]) == ("wolf", "wolf", "wolf: howling")
    assert (found["image_id"], found["style"]) == ("wolf/google", "google")
    assert items(search(client, text="howling"))[0] == "wolf"
    assert items(search(client, text="cat", filters={"year": 2024})) == ["wolf"]
    assert items(search(client, text="cat", filters={"year": 2024, "style": "openmoji"})) == []
    assert "wolf" in items(search(client, image=seen("fox"), k=3))
    assert items(search(client, image_id="wolf/google", k=1)) == ["fox"]
    assert client.get("/v1/pictures/wolf/google").content == base64.b64decode(seen("fox"))
    assert client.get("/v1/items/wolf").json()["names"] == {"en": "wolf", "de": "Wolf"}
    assert client.get("/v1/catalogue").json()["items"] == 15


def test_a_changed_item_is_as_it_was_changed(served):
    client = served()
    texts = [{"lang": "en", "role": "name", "text": "kitten"}]
    assert client.put("/v1/items/cat", json={"texts": texts}).status_code == 200
    assert search(client, text="kitten").json()["hits"][0]["title"] == "kitten"
    assert client.get("/v1/pictures/cat/google").status_code == 404
    titles = [hit["title"] for hit in search(client, text="cat", k=20).json()["hits"]]
    assert "cat" not in titles


def test_a_removed_item_is_found_no_more(served):
    client = served()
    assert client.delete("/v1/items/rocket").status_code == 200
    for asked in ({"text": "rocket", "k": 50}, {"image": seen("rocket"), "k": 50}, {"text": "like rocket", "k": 50}):
        assert "rocket" not in items(search(client, **asked))
    assert client.get("/v1/items/rocket").status_code == 404
    assert client.delete("/v1/items/rocket").status_code == 404
    assert client.put("/v1/items/rocket", json=wolf()).status_code == 200
    assert items(search(client, text="wolf"))[0] == "rocket"


def test_nothing_acknowledged_is_lost_when_the_service_starts_again(served):
    client = served()
    client.put("/v1/items/wolf", json=wolf())
    client.delete("/v1/items/cat")
    client = served()
    assert items(search(client, text="wolf"))[0] == "wolf"
    assert "cat" not in items(search(client, text="cat", k=50))


@pytest.mark.parametrize("same_model", [True, False])
def test_changes_stay_when_a_new_version_is_published(own_root, tmp_path, same_model):
    service = Service(serve_params(tmp_path), own_root, {}, word_encoder)
    with client_of(service) as client:
        client.put("/v1/items/wolf", json=wolf())
        client.delete("/v1/items/rocket")
        if not same_model:
            service.engine.model_version = "another"
            service.live._load = lambda folder: WordEncoder()
        wanted = publish_again(own_root, "kitten")
        wait_until(lambda: service.engine.version == wanted)
        assert items(search(client, text="wolf"))[0] == "wolf"
        assert items(search(client, text="kitten"))[0] == "cat"
        assert "rocket" not in items(search(client, text="rocket", k=50))


def test_what_cannot_be_written_is_not_acknowledged_and_not_found(served, monkeypatch):
    client = served()

    def full(handle):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("unimr.data.live.os.fsync", full)
        answer = client.put("/v1/items/wolf", json=wolf())
    assert (answer.status_code, "No space left" in answer.json()["error"]["message"]) == (503, True)
    assert items(search(client, text="wolf", k=1)) != ["wolf"]
    assert client.put("/v1/items/wolf", json=wolf()).status_code == 200
    assert items(search(served(), text="wolf"))[0] == "wolf"


@pytest.mark.parametrize(
    ("item_id", "changes", "said"),
    [
        ("wo lf", {}, "item_id"),
        ("wolf", {"texts": []}, "texts"),
        ("wolf", {"texts": [{"lang": "xx", "role": "name", "text": "wolf"}]}, "no language 'xx'"),
        ("wolf", {"texts": [{"lang": "en", "role": "title", "text": "wolf"}]}, "role"),
        ("wolf", {"texts": [{"lang": "en", "role": "name", "text": each} for each in ("wolf", "dog")]}, "2 texts"),
        ("wolf", {"attributes": {"year": "soon"}}, "year"),
        ("wolf", {"attributes": {"base": "dog"}}, "base"),
        ("wolf", {"base_id": "nothing"}, "no item of the index"),
        ("wolf", {"base_id": "hand-dark"}, "a variant itself"),
        ("wolf", {"pictures": [{"style": "oil", "image": seen("fox")}]}, "no style 'oil'"),
        ("wolf", {"pictures": [{"style": "google", "image": "!"}]}, "base64"),
        ("wolf", {"pictures": [{"style": "google", "image": ""}]}, "not a picture"),
        ("wolf", {"pictures": [{"style": "google", "path": "/etc/passwd"}]}, "path"),
        ("hand", {"base_id": "cat"}, "is the base of"),
    ],
)
def test_a_change_that_does_not_fit_changes_nothing(served, own_root, item_id, changes, said):
    client = served()
    answer = client.put(f"/v1/items/{item_id}", json=wolf(**changes))
    assert answer.status_code == 422 and said in answer.json()["error"]["message"], answer.text
    assert not (own_root / JOURNAL).exists()


def test_a_base_cannot_be_removed_before_its_variants(served):
    client = served()
    assert client.delete("/v1/items/hand").status_code == 422
    assert [client.delete(f"/v1/items/{item}").status_code for item in ("hand-dark", "hand-light", "hand")] == [200] * 3


def test_what_the_next_build_holds_is_laid_over_no_more(own_root, tmp_path, monkeypatch):
    monkeypatch.setattr("unimr.service.changes.MAX_LIVE_ITEMS", 3)
    service = Service(serve_params(tmp_path), own_root, {}, word_encoder)
    with client_of(service) as client:
        for item_id in ("wolf", "bear"):
            client.put(f"/v1/items/{item_id}", json=wolf())
        client.delete("/v1/items/rocket")
        assert client.put("/v1/items/lynx", json=wolf()).status_code == 503
        wanted = build_with(own_root, "wolf", without="rocket")
        wait_until(lambda: service.engine.version == wanted)
        assert service.engine.overlay.hidden == {"bear"}
        assert items(search(client, text="wolf"))[0] in ("wolf", "bear")
        assert set(items(search(client, text="howling", k=2))) == {"bear", "wolf"}
        assert "rocket" not in items(search(client, text="rocket", k=50))
        assert client.put("/v1/items/lynx", json=wolf()).status_code == 200
        changed = wolf(texts=[{"lang": "en", "role": "name", "text": "grey wolf"}])
        assert client.put("/v1/items/wolf", json=changed).status_code == 200
        assert search(client, text="grey", k=1).json()["hits"][0]["title"] == "grey wolf"
    with client_of(Service(serve_params(tmp_path), own_root, {}, word_encoder)) as client:
        assert search(client, text="grey", k=1).json()["hits"][0]["title"] == "grey wolf"


def build_with(root, added: str, without: str) -> str:
    """Publish what the tables hold once stage `prepare` has taken in a wolf of that id, and not yet a bear."""
    write_tables(root)
    folder, asked = root / "data/validated", wolf()
    texts, images = read_table(folder, "texts"), read_table(folder, "images")
    given = [(each["lang"], each["role"], each["text"]) for each in asked["texts"]]
    for lang, role, text in [*given, ("en", "description", "wolf: howling")]:
        kind = "long" if role == "description" else "short"
        texts.loc[len(texts)] = [f"{added}/{lang}/{role}", added, lang, kind, role, text, "train"]
    data = base64.b64decode(asked["pictures"][0]["image"])
    attributes = asked["attributes"] | {"base": added}
    images.loc[len(images)] = [
        f"{added}/google", added, "google", data, 16, 16, sha256(data).hexdigest(), attributes, "train"
    ]  # fmt: skip
    write_table(folder, "texts", texts[texts["item_id"] != without])
    write_table(folder, "images", images[images["item_id"] != without])
    embed(params(), root, WordEncoder(), VERSION)
    return build(index_params(), root, WordEncoder(), VERSION, word_encoder)
