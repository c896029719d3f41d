"""A real Milvus server in the place of the embedded folder: the URI is all that changes."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pymilvus import MilvusClient

from tests.index.milvus_server import hanging, milvus_server, uri_of
from tests.index.small_index import (
    NAMES,
    STYLES,
    VERSION,
    WordEncoder,
    index_params,
    params,
    picture,
    word_encoder,
    write_root,
    write_tables,
)
from tests.service.conftest import client_of, serve_params
from tests.service.test_changes import wolf
from tests.service.test_engines import wait_until
from unimr.index.build import build
from unimr.index.embed import embed
from unimr.index.publish import collection_name, current_version, promote, rollback
from unimr.index.schema import COLLECTIONS, IMAGES, Filter
from unimr.search.engine import SearchEngine
from unimr.service.service import Service

pytestmark = pytest.mark.slow
KEPT = 2


@pytest.fixture(scope="module")
def server() -> Iterator:
    with milvus_server() as started:
        yield started


@pytest.fixture
def client(server) -> Iterator[MilvusClient]:
    """Another program that looks at the server."""
    opened = MilvusClient(uri_of(server))
    yield opened
    opened.close()


@pytest.fixture
def root(server, tmp_path) -> Path:
    """A project whose index is on the server, published once."""
    write_root(tmp_path / "project")
    publish_on(server, tmp_path / "project")
    return tmp_path / "project"


def publish_on(server, root: Path, changed_name: str | None = None, **changes: object) -> str:
    write_tables(root, changed_name)
    embed(params(), root, WordEncoder(), VERSION)
    given = index_params(uri=uri_of(server) if server else "", keep_versions=KEPT, **changes)
    return build(given, root, WordEncoder(), VERSION, word_encoder)


def answers(root: Path) -> list[list[tuple[str, str | None]]]:
    """What is found by words, pictures, both, more like this, and with filters."""
    with SearchEngine.open(root, word_encoder) as engine:
        pictures = [picture(number, style) for number in range(len(NAMES)) for style in STYLES]
        found = [engine.search(name, k=14) for name in NAMES]
        found += [engine.search(image=data, k=14) for data in pictures]
        found += [engine.search("dark", image=pictures[-1]), engine.search("like cat"), engine.search("all food")]
        found += [
            engine.search("cat", filters=engine.parse_filters([text]), k=14)
            for text in ("style=openmoji", "year>=2015", "category!=Food & Drink")
        ]
        return [[(hit.item_id, hit.image_id) for hit in answer.hits] for answer in found]


@pytest.mark.parametrize("index_type", ["FLAT", "HNSW"])  # IVF_SQ8 rounds: what nearly ties may change places
def test_a_server_answers_as_the_embedded_folder_does(server, tmp_path, index_type):
    found = []
    for place, name in ((server, "server"), (None, "embedded")):
        write_root(tmp_path / name)
        publish_on(place, tmp_path / name, index_type=index_type)
        found.append(answers(tmp_path / name))
    assert found[0] == found[1]


def test_publishing_swaps_the_aliases_and_rolling_back_swaps_them_back(server, root, client):
    def seen() -> set[str]:
        """Collections behind the aliases, as another program finds them."""
        behind = [client.describe_collection(f"unimr_{spec.name}")["collection_name"] for spec in COLLECTIONS]
        return set(behind)

    def named(version: str) -> set[str]:
        return {collection_name(version, spec) for spec in COLLECTIONS}

    first = current_version(root)
    assert seen() == named(first)
    second = publish_on(server, root, "kitten")
    assert seen() == named(second)
    assert (rollback(root).after, seen()) == (first, named(first))
    assert (promote(root, second).after, seen()) == (second, named(second))
    third = publish_on(server, root, "moggy")
    assert seen() == named(third)
    assert named(second) | named(third) <= set(client.list_collections()) and not named(first) & set(
        client.list_collections()
    )  # two are kept


def test_a_folder_that_was_removed_is_made_again_over_what_is_live(server, root):
    first, found = current_version(root), answers(root)
    shutil.rmtree(root / "published")
    assert (publish_on(server, root), answers(root)) == (first, found)


def test_a_running_service_follows_versions_and_takes_changes(server, root, tmp_path):
    first = current_version(root)
    service = Service(serve_params(tmp_path), root, {}, word_encoder)
    with client_of(service) as client:

        def top(text: str) -> str:
            answer = client.post("/v1/search", json={"text": text})
            assert answer.status_code == 200, answer.text
            return answer.json()["hits"][0]["title"]

        assert client.put("/v1/items/wolf", json=wolf()).status_code == 200
        assert client.delete("/v1/items/rocket").status_code == 200
        second = publish_on(server, root, "kitten")
        wait_until(lambda: service.engine.version == second)
        assert (top("kitten"), top("wolf"), top("rocket") != "rocket") == ("kitten", "wolf", True)
        rollback(root)
        wait_until(lambda: service.engine.version == first)
        assert (top("cat"), top("wolf")) == ("cat", "wolf")
    with client_of(Service(serve_params(tmp_path), root, {}, word_encoder)) as client:
        assert client.post("/v1/search", json={"text": "wolf"}).json()["hits"][0]["item_id"] == "wolf"


def test_a_server_that_hangs_is_503_and_the_service_goes_on_with_it(server, root, tmp_path, monkeypatch):
    monkeypatch.setattr("unimr.index.store.SEARCH_SECONDS", 1.0)
    with client_of(Service(serve_params(tmp_path), root, {}, word_encoder)) as client:
        started = time.monotonic()
        with hanging(server):
            answer = client.post("/v1/search", json={"text": "cat"})
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1") and time.monotonic() - started < 4
        assert uri_of(server) not in answer.text
        wait_until(lambda: client.post("/v1/search", json={"text": "cat"}).status_code == 200)


def test_filters_of_hostile_words_select_nothing_else(server, root):
    with SearchEngine.open(root, word_encoder) as engine:
        name = collection_name(engine.version, IMAGES)
        for word in ('x" or year > 0 or style == "', "'", "\\", "%", "google\\", "\n", "日本"):
            found = engine._store.search(
                name, IMAGES, engine.model.encode_texts(["cat"]), 50, [Filter("style", "==", word)]
            )
            assert found == [[]]
