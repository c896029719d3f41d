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
from unimr.model.nlu import PredictedSlot, Understanding
from unimr.search.engine import SearchEngine
from unimr.search.query import Query

from ..index.small_index import NAMES, WordEncoder, picture


def titles(answer) -> list[str]:
    return [hit.title for hit in answer.hits]


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


def test_slots_become_filters_and_are_shown(engine):
    answer = engine.search("hand dark openmoji 2015")
    assert answer.filters == ["skin_tone == dark", "style == openmoji", "year == 2015"]
    assert titles(answer) == ["hand: dark skin tone"]
    assert {slot.label: slot.value for slot in answer.slots} == {
        "subject": "hand", "skin_tone": "dark", "style": "openmoji", "time": "2015",
    }  # fmt: skip


def test_a_filter_from_words_that_leaves_nothing_is_dropped_and_said(engine):
    answer = engine.search("dark food")
    assert answer.filters == ["skin_tone == dark"]
    assert answer.notes == ["The filter category == Food & Drink leaves nothing and was dropped."]
    assert titles(answer) == ["hand: dark skin tone"]


def test_who_asks_for_something_by_its_name_gets_it_whatever_is_understood(engine, monkeypatch):
    misread = (PredictedSlot(0, 4, "category", "food", 0.9), PredictedSlot(0, 3, "subject", "dog", 0.9))
    monkeypatch.setattr(engine.model, "understand", lambda texts: [Understanding("filter_set", 0.9, misread)])
    answer = engine.search("hand: dark skin tone", k=3)
    assert (titles(answer)[0], answer.intent, answer.filters) == ("hand: dark skin tone", "find_image", [])
    assert answer.notes == ["The filter category == Food & Drink leaves nothing of that name and was dropped."]


def test_a_name_is_a_search_whatever_the_model_says_of_it(engine, monkeypatch):
    monkeypatch.setattr(engine.model, "understand", lambda texts: [Understanding("out_of_scope", 0.9, ())])
    assert engine.search("rocket", k=1).notes == []
    assert engine.search("rocket now", k=1).notes != []


def test_words_beside_a_picture_name_nothing(engine, monkeypatch):
    dark = (PredictedSlot(0, 4, "skin_tone", "dark", 0.9),)
    monkeypatch.setattr(engine.model, "understand", lambda texts: [Understanding("find_image", 0.9, dark)])
    answer = engine.search("cat", image=picture(0, "google"))
    assert answer.filters == ["skin_tone == dark"]


def test_a_whole_name_need_not_come_first(engine):
    (answer,) = engine.search_many([Query("hand: dark skin tone", k=1, names_first=False)])
    assert [hit.score for hit in answer.hits] == [round(3 / 61, 6)]  # first among pictures, texts and words
    assert engine.search("hand: dark skin tone", k=1).hits[0].score == round((3 + 2 * 3) / 61, 6)  # and a name


def test_a_given_filter_is_kept_even_if_it_leaves_nothing(engine):
    answer = engine.search("cat", filters=[Filter("year", ">", 2100)])
    assert answer.hits == [] and answer.filters == ["year > 2100"]
    assert "satisfies the filters" in answer.notes[0]


def test_a_given_filter_wins_over_the_words(engine):
    answer = engine.search("cat in openmoji", filters=engine.parse_filters(["style=google"]))
    assert {hit.style for hit in answer.hits} == {"google"}


def test_filters_hold_for_every_hit(engine):
    answer = engine.search("cat", filters=engine.parse_filters(["category=Food & Drink", "year>=2021"]), k=20)
    assert set(titles(answer)) == {"cheese", "apple"}


def test_all_of_a_category_lists_exactly_it(engine):
    answer = engine.search("all animals", k=20)
    assert answer.intent == "filter_set"
    assert set(titles(answer)) == {"cat", "dog", "horse", "fox"}


def test_the_number_in_the_query_counts_unless_k_is_given(engine):
    assert len(engine.search("three animals").hits) == 3
    assert len(engine.search("three animals", k=2).hits) == 2


def test_what_does_it_mean_answers_with_texts(engine):
    hit = engine.search("what does rocket mean").hits[0]
    assert (hit.kind, hit.item_id, hit.text) == ("text", "rocket", "rocket: Travel & Places, thing")


def test_an_intent_of_other_data_searches_pictures_and_texts(engine, monkeypatch):
    expected, slots = titles(engine.search("rocket now", k=5)), (PredictedSlot(0, 6, "subject", "rocket", 0.9),)
    monkeypatch.setattr(
        engine.model, "understand", lambda texts: [Understanding("alarm_set", 0.9, slots) for _ in texts]
    )
    answer = engine.search("rocket now", k=5)
    assert (answer.intent, titles(answer)) == ("alarm_set", expected)


def test_something_like_it_leaves_itself_and_its_variants_out(engine):
    answer = engine.search("like hand", k=20)
    assert answer.intent == "find_similar" and answer.hits
    assert not {"hand", "hand-dark", "hand-light"} & {hit.item_id for hit in answer.hits}


def test_out_of_scope_still_answers_and_says_so(engine):
    answer = engine.search("weather in castle")
    assert answer.hits[0].item_id == "castle"
    assert "does not look like a search" in answer.notes[0]


def test_a_picture_finds_its_item_in_other_styles(engine):
    answer = engine.search(image=picture(4, "google"), filters=engine.parse_filters(["style=openmoji"]))
    assert answer.hits[0].image_id == "rocket/openmoji"


def test_a_picture_changed_by_words(engine):
    hand = list(NAMES).index("hand")
    assert engine.search("dark", image=picture(hand, "google")).hits[0].item_id == "hand-dark"


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


def test_a_query_the_index_cannot_answer_spoils_no_other(engine):
    answers = engine.search_many([Query("cat", lang="xx"), Query("cat"), Query(image_id="cat/nothing")])
    assert "no language 'xx'" in str(answers[0]) and "no picture 'cat/nothing'" in str(answers[2])
    assert answers[1].hits[0].item_id == "cat"


def test_more_like_a_picture_leaves_its_item_out(engine):
    hits = engine.search_many([Query(image_id="hand/google", k=20)])[0].hits
    assert hits and not {"hand", "hand-dark", "hand-light"} & {hit.item_id for hit in hits}


def test_a_slot_that_was_taken_back_is_no_filter(engine):
    answer = engine.search_many([Query("hand dark openmoji", ignored=frozenset({"style"}))])[0]
    assert answer.filters == ["skin_tone == dark"]
    assert [(slot.label, slot.value) for slot in answer.slots][-1] == ("style", None)


def test_an_intent_that_was_taken_back_is_not_acted_on(engine):
    assert engine.search_many([Query("all animals", ignored=frozenset({"intent"}))])[0].intent == "find_image"


def test_understanding_alone_searches_nothing(engine):
    answer = engine.search_many([Query("hand dark", understand_only=True)])[0]
    assert answer.hits == [] and answer.similarity is None and answer.filters == ["skin_tone == dark"]


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
