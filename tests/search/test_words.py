from __future__ import annotations

from collections import Counter

import pytest

from unimr.index.schema import Filter
from unimr.search.overlay import LiveItem, Overlay
from unimr.search.words import Words

BEAR = LiveItem(
    {"names": {"en": "bear"}, "descriptions": {}, "attributes": {"category": "Animals & Nature", "base": "bear"}},
    [],
    {},
    {"en": Counter({"bear": 3, "\nbear": 1, "\tcat": 1})},
)
ANIMALS, FOOD = ([Filter("category", "==", name)] for name in ("Animals & Nature", "Food & Drink"))


@pytest.fixture(scope="module")
def words(engine) -> Words:
    """The words of the small index, with a bear that is called cat too, and without the dog."""
    overlay = Overlay({"bear": BEAR}, frozenset({"bear", "dog"}))
    return Words(engine.lexical, engine.catalogue.changed(overlay.hidden, {"bear": BEAR.shown}, []), overlay)


def found(hits):
    return {hit.item_id: hit.score for hit in hits}


def test_live_items_are_found_and_removed_ones_are_not(words):
    assert [hit.item_id for hit in words.search("bear", [], 5)] == ["bear"]
    assert words.search("dog", [], 5) == words.exact("dog", []) == []


@pytest.mark.parametrize(
    ("text", "filters", "expected"),
    [("bear", [], {"bear": 2}), ("CAT", [], {"cat": 2, "bear": 1}), ("cat", FOOD, {}), ("Katze", ANIMALS, {"cat": 2})],
)
def test_a_whole_name_and_a_whole_keyword_are_told_apart(words, text, filters, expected):
    assert found(words.exact(text, filters)) == expected


def test_the_mask_of_what_is_named(words, engine):
    mask = words.named("bear", [])
    assert mask.sum() == 1 and len(mask) == len(engine.catalogue.item_ids)  # the bear came and the dog went
    assert not words.named("bear in the woods", []).any()
