from __future__ import annotations

import io
import json
import statistics
import struct
import zlib

import pytest
from PIL import Image

from unimr.data.images import MAX_BYTES
from unimr.errors import UnimrError
from unimr.index.schema import Filter
from unimr.search.engine import SearchEngine
from unimr.search.query import Query

from ..index.small_index import NAMES, WordEncoder, picture
from .conftest import titles


@pytest.mark.parametrize("name", NAMES)
def test_every_item_is_found_by_its_name(engine, name):
    assert engine.search(name).hits[0].item_id == name


@pytest.mark.parametrize(
    ("query", "lang", "title"), [("Katze", "de", "Katze"), ("火山", "ja", "火山"), ("rocket", "en", "rocket")]
)
def test_titles_are_in_the_language_of_the_query(engine, query, lang, title):
    answer = engine.search(query)
    assert (answer.lang, answer.hits[0].title) == (lang, title)


def test_a_language_hint_wins(engine):
    answer = engine.search("rocket", lang="de")
    assert (answer.hits[0].title, answer.hits[0].english) == ("Rakete", "rocket")


def test_a_hit_shows_a_picture_in_the_style_asked_for(engine):
    hit = engine.search("cat in openmoji").hits[0]
    assert (hit.item_id, hit.image_id, hit.style, hit.kind) == ("cat", "cat/openmoji", "openmoji", "image")
    assert hit.picture == picture(0, "openmoji")


def test_filters_hold_for_every_hit(engine):
    answer = engine.search("cat", filters=engine.parse_filters(["category=Food & Drink", "year>=2021"]), k=20)
    assert set(titles(answer)) == {"cheese", "apple"}


def test_many_at_once_are_answered_as_one_by_one(engine):
    queries = [
        Query("cat in openmoji"), Query("what does rocket mean", k=3), Query("like hand"), Query("all animals", k=20),
        Query(image=picture(4, "google"), filters=(Filter("style", "==", "openmoji"),)), Query("dog", lang="de"),
        Query("dark", image=picture(list(NAMES).index("hand"), "google")), Query(image_id="cat/google", k=4),
    ]  # fmt: skip
    for together, alone in zip(
        engine.search_many(queries), [engine.search_many([each])[0] for each in queries], strict=True
    ):
        assert [hit.item_id for hit in together.hits] == [hit.item_id for hit in alone.hits]
        assert (together.intent, together.filters, together.notes) == (alone.intent, alone.filters, alone.notes)


def test_the_margin_lies_between_the_first_two_items(engine):
    answer = engine.search("rocket")
    assert answer.similarity > 0.9 and 0 < answer.margin <= answer.similarity + 1


def test_the_answer_is_plain_json_without_picture_bytes(engine):
    value = json.loads(json.dumps(engine.search("cat openmoji").to_json()))
    assert value["hits"][0]["item_id"] == "cat" and "picture" not in value["hits"][0]
    assert value["slots"][0] == {"label": "subject", "text": "cat", "value": "cat"}
    assert value["index_version"] == engine.version and value["model_version"] == "000000000001"


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that declares this many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b"\0" * 100))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


def gif() -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (4, 4)).save(data, format="GIF")
    return data.getvalue()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"text": ""}, "query is empty"),
        ({"text": "  \n"}, "query is empty"),
        ({}, "query is empty"),
        ({"text": "a" * 2001}, "2,001 characters"),
        ({"text": "a" * 10 * 2**20}, "10,485,760 characters"),
        ({"text": "cat", "k": 0}, "between 1 and 100"),
        ({"text": "cat", "k": 101}, "between 1 and 100"),
        ({"image": b"not a picture"}, "not a picture"),
        ({"image": b""}, "not a picture"),
        ({"image": gif()}, "only PNG, JPEG and WebP"),
        ({"image": bomb(5000, 5000)}, "5000 x 5000 pixels"),
        ({"image": bomb(50_000, 50_000)}, "refused"),
        ({"image": bomb(10, 10)}, "damaged"),
        ({"image": b"\x89PNG" + b"\0" * MAX_BYTES}, "at most 10,485,760"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_queries_are_refused_with_a_reason(engine, arguments, reason):
    with pytest.raises(UnimrError, match=reason):
        engine.search(**arguments)


@pytest.mark.parametrize("query", ["😀😀", "'; drop", '" or year > 0 or "', "\\", "\0", "١٢٣", "\u202eabc", "%", "…"])
def test_strange_queries_are_answered(engine, query):
    assert engine.search(query).hits


def test_nothing_published_says_what_to_run(tmp_path):
    with pytest.raises(UnimrError, match="dvc repro"):
        SearchEngine.open(tmp_path, load=lambda folder: WordEncoder())


def test_later_answers_are_quick(engine, record_property):
    times = [engine.search(name).milliseconds for name in list(NAMES) * 3]
    record_property("median_milliseconds", statistics.median(times))
    assert statistics.median(times) < 250  # a bound for a busy machine and a small catalogue, not the target
