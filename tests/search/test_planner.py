from __future__ import annotations

from unimr.model.nlu import PredictedSlot, Understanding
from unimr.search.query import Query

from ..index.small_index import NAMES, picture
from .conftest import titles


def test_a_whole_name_need_not_come_first(engine):
    (answer,) = engine.search_many([Query("hand: dark skin tone", k=1, names_first=False)])
    assert [hit.score for hit in answer.hits] == [round(3 / 61, 6)]  # first among pictures, texts and words
    assert engine.search("hand: dark skin tone", k=1).hits[0].score == round((3 + 2 * 3) / 61, 6)  # and a name


def test_all_of_a_category_lists_exactly_it(engine):
    answer = engine.search("all animals", k=20)
    assert answer.intent == "filter_set"
    assert set(titles(answer)) == {"cat", "dog", "horse", "fox"}


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


def test_a_picture_finds_its_item_in_other_styles(engine):
    answer = engine.search(image=picture(4, "google"), filters=engine.parse_filters(["style=openmoji"]))
    assert answer.hits[0].image_id == "rocket/openmoji"


def test_a_picture_changed_by_words(engine):
    hand = list(NAMES).index("hand")
    assert engine.search("dark", image=picture(hand, "google")).hits[0].item_id == "hand-dark"


def test_more_like_a_picture_leaves_its_item_out(engine):
    hits = engine.search_many([Query(image_id="hand/google", k=20)])[0].hits
    assert hits and not {"hand", "hand-dark", "hand-light"} & {hit.item_id for hit in hits}


def test_an_intent_that_was_taken_back_is_not_acted_on(engine):
    assert engine.search_many([Query("all animals", ignored=frozenset({"intent"}))])[0].intent == "find_image"


def test_understanding_alone_searches_nothing(engine):
    answer = engine.search_many([Query("hand dark", understand_only=True)])[0]
    assert answer.hits == [] and answer.similarity is None and answer.filters == ["skin_tone == dark"]
