from __future__ import annotations

import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

from unimr.errors import UnimrError
from unimr.index.embed import digest
from unimr.index.schema import IMAGES, UNKNOWN_NUMBER, Filter, satisfies
from unimr.index.store import Rows, Store, StoreUnavailableError, check_vectors, expression

from .milvus_server import hanging, milvus_server, uri_of

NASTY = 'a" or year > 0 or "" == "'
STYLES = ["google", "openmoji", NASTY, "back\\slash", "日本", "new\nline", "it's"]


def rows(count: int = 70, dim: int = 16) -> Rows:
    vectors = np.random.default_rng(1).normal(size=(count, dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    fields = {name: [""] * count for name in IMAGES.strings}
    fields["image_id"] = [f"{number}/x" for number in range(count)]
    fields["style"] = [STYLES[number % len(STYLES)] for number in range(count)]
    fields["year"] = [UNKNOWN_NUMBER if number % 9 == 0 else 2010 + number % 9 for number in range(count)]
    return Rows(fields, vectors)


@pytest.fixture(scope="module", params=["embedded", pytest.param("server", marks=pytest.mark.slow)])
def server(request):
    """A real server, or None for Milvus Lite: every test of the store is about both."""
    if request.param == "embedded":
        yield None
    else:
        with milvus_server() as started:
            yield started


@pytest.fixture
def uri(server, tmp_path):
    """Where a test may make collections of its own."""
    return str(tmp_path / "milvus.db") if server is None else uri_of(server)


@pytest.fixture(scope="module")
def store(server, tmp_path_factory):
    with Store(str(tmp_path_factory.mktemp("store") / "milvus.db") if server is None else uri_of(server)) as opened:
        opened.create("images", IMAGES, 16, "FLAT", 70)
        opened.insert("images", IMAGES, rows())
        yield opened


@pytest.mark.parametrize(
    "filters",
    [
        [],
        *[[Filter("style", "==", style)] for style in STYLES],
        [Filter("style", "!=", NASTY)],
        [Filter("year", ">=", 2015)],
        [Filter("year", "<", 2015)],
        [Filter("year", "!=", 2015)],
        [Filter("year", ">", 2012), Filter("year", "<=", 2014)],
        [Filter("style", "==", "google"), Filter("style", "==", "日本"), Filter("year", "==", 2013)],
        [Filter("style", "==", "nothing like it")],
    ],
    ids=str,
)
def test_filters_select_exactly_the_rows_that_satisfy_them(store, filters):
    content = rows()
    wanted = {
        content.fields["image_id"][row]
        for row in range(70)
        if satisfies({"style": content.fields["style"][row], "year": content.fields["year"][row]}, filters)
    }
    found = store.search("images", IMAGES, content.vectors[:1], 70, filters)[0]
    assert {hit.key for hit in found} == wanted


def test_scores_are_cosines_best_first(store):
    content = rows()
    found = store.search("images", IMAGES, content.vectors[:3], 5)
    exact = np.sort(content.vectors[:3] @ content.vectors.T, axis=1)[:, ::-1][:, :5]
    assert np.allclose([[hit.score for hit in hits] for hits in found], exact, atol=1e-5)


def test_vectors_are_fetched_by_id(store):
    fetched = store.fetch("images", IMAGES, ["3/x", "unknown", "69/x"])
    assert set(fetched) == {"3/x", "69/x"}
    assert np.array_equal(fetched["3/x"], rows().vectors[3])


def test_all_vectors_are_fetched_over_several_batches(uri):
    content = rows(2_300)
    with Store(uri) as opened:
        opened.create("many", IMAGES, 16, "FLAT", 2_300)
        opened.insert("many", IMAGES, content)
        stored = opened.fetch_all("many", IMAGES)
        assert opened.read_all("many", IMAGES).fields["style"].count("google") == content.fields["style"].count(
            "google"
        )
    assert digest(list(stored), np.stack(list(stored.values()))) == digest(content.ids(IMAGES), content.vectors)


def test_count(store):
    assert store.count("images") == 70


@pytest.mark.parametrize("index_type", ["HNSW", "IVF_SQ8"])
def test_other_index_types_find_the_same(uri, index_type):
    content, name = rows(300), index_type.lower()
    with Store(uri) as opened:
        opened.create(name, IMAGES, 16, index_type, 300)
        opened.insert(name, IMAGES, content)
        found = opened.search(name, IMAGES, content.vectors[:20], 1)
    assert [hits[0].key for hits in found] == content.fields["image_id"][:20]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda r: r.vectors.__setitem__((2, 0), np.nan), "NaN"),
        (lambda r: r.vectors.__setitem__(2, 0), "unit length"),
        (lambda r: r.fields["image_id"].__setitem__(4, "2/x"), "more than once"),
        (lambda r: r.fields["image_id"].pop(), "69 ids but 70 vectors"),
    ],
)
def test_unsound_rows_are_not_stored(store, damage, reason):
    content = rows()
    damage(content)
    with pytest.raises(UnimrError, match=reason):
        store.insert("images", IMAGES, content)
    assert store.count("images") == 70


def test_a_wrong_dimension_is_named():
    with pytest.raises(UnimrError, match=r"\(70, 16\)"):
        check_vectors("rows", rows().fields["image_id"], rows().vectors, 256)


def test_an_existing_collection_is_not_overwritten(store):
    with pytest.raises(UnimrError, match="already has a collection"):
        store.create("images", IMAGES, 16, "FLAT", 70)


def test_aliases_move_and_protect_their_collection(uri):
    with Store(uri) as opened:
        for name in ("one", "two"):
            opened.create(name, IMAGES, 16, "FLAT", 5)
        opened.insert("two", IMAGES, rows(5))
        opened.point_alias("live", "one")
        opened.point_alias("live", "two")
        opened.drop("one")
        assert "one" not in opened.collections() and "two" in opened.collections()
        assert len(opened.search("live", IMAGES, rows().vectors[:1], 3)[0]) == 3
        with pytest.raises(UnimrError, match="live as live"):
            opened.drop("two")


def test_a_folder_held_by_another_process_is_named_and_its_copy_opens(tmp_path):
    path = tmp_path / "milvus.db"
    with Store(str(path)) as opened:
        opened.create("images", IMAGES, 16, "FLAT", 70)
        opened.insert("images", IMAGES, rows())
    code = (
        "import sys; from unimr.index.store import Store; store = Store(sys.argv[1]); print('open', flush=True); "
        "sys.stdin.readline()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(UnimrError, match="another process"):
            Store(str(path))
        shutil.copytree(path, tmp_path / "copy.db")
        with Store(str(tmp_path / "copy.db")) as copy:
            copy.load("images")
            assert copy.count("images") == 70
    finally:
        holder.communicate("\n", timeout=30)
    with Store(str(path)) as opened:
        opened.load("images")
        assert opened.count("images") == 70


def test_a_server_that_hangs_is_named_in_time_and_used_again_when_it_goes_on(store, server, monkeypatch):
    if server is None:
        pytest.skip("Milvus Lite is in this process")
    monkeypatch.setattr("unimr.index.store.SEARCH_SECONDS", 1.0)
    started = time.monotonic()
    with hanging(server), pytest.raises(StoreUnavailableError, match=r"did not search images in time"):
        store.search("images", IMAGES, rows().vectors[:1], 3)
    assert time.monotonic() - started < 3
    assert len(store.search("images", IMAGES, rows().vectors[:1], 3)[0]) == 3


def test_no_server_is_a_clear_error(monkeypatch):
    monkeypatch.setattr("unimr.index.store.TIMEOUT_SECONDS", 1.0)
    with pytest.raises(StoreUnavailableError, match=r"http://127\.0\.0\.1:1"):
        Store("http://127.0.0.1:1")


def test_values_cannot_leave_their_quotes():
    assert expression([Filter("style", "==", NASTY)]) == '(style == "a\\" or year > 0 or \\"\\" == \\"")'


@pytest.mark.parametrize(
    ("field", "op", "value", "reason"),
    [
        ("owner", "==", "x", "Known fields: style"),
        ("style", ">=", "x", "Known: == !="),
        ("style", "or", "x", "Known: == !="),
        ("year", "==", "2019", "takes a number"),
        ("style", "==", 3, "takes a word"),
        ("year", "==", True, "takes a number"),
    ],
)
def test_a_filter_that_is_not_allowed_cannot_be_made(field, op, value, reason):
    with pytest.raises(UnimrError, match=reason):
        Filter(field, op, value)
