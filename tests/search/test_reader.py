from __future__ import annotations

from unimr.index.schema import Filter
from unimr.model.nlu import PredictedSlot, Understanding
from unimr.search.query import Query

from ..index.small_index import picture
from .conftest import titles


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


def test_a_given_filter_is_kept_even_if_it_leaves_nothing(engine):
    answer = engine.search("cat", filters=[Filter("year", ">", 2100)])
    assert answer.hits == [] and answer.filters == ["year > 2100"]
    assert "satisfies the filters" in answer.notes[0]


def test_a_given_filter_wins_over_the_words(engine):
    answer = engine.search("cat in openmoji", filters=engine.parse_filters(["style=google"]))
    assert {hit.style for hit in answer.hits} == {"google"}


def test_the_number_in_the_query_counts_unless_k_is_given(engine):
    assert len(engine.search("three animals").hits) == 3
    assert len(engine.search("three animals", k=2).hits) == 2


def test_out_of_scope_still_answers_and_says_so(engine):
    answer = engine.search("weather in castle")
    assert answer.hits[0].item_id == "castle"
    assert "does not look like a search" in answer.notes[0]


def test_a_query_the_index_cannot_answer_spoils_no_other(engine):
    answers = engine.search_many([Query("cat", lang="xx"), Query("cat"), Query(image_id="cat/nothing")])
    assert "no language 'xx'" in str(answers[0]) and "no picture 'cat/nothing'" in str(answers[2])
    assert answers[1].hits[0].item_id == "cat"


def test_a_slot_that_was_taken_back_is_no_filter(engine):
    answer = engine.search_many([Query("hand dark openmoji", ignored=frozenset({"style"}))])[0]
    assert answer.filters == ["skin_tone == dark"]
    assert [(slot.label, slot.value) for slot in answer.slots][-1] == ("style", None)
