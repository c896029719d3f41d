from __future__ import annotations

import pytest

from unimr.errors import UnimrError
from unimr.index.schema import Filter
from unimr.search.filters import MAX_RESULTS, SlotLexicon, parse_filter, read_slots, years

from ..index.small_index import SLOT_VALUES, FoundSlot

VALUES = {"style": ["google", "openmoji"], "category": ["Flags", "Food & Drink"], "lang": ["de", "en"]}


@pytest.fixture(scope="module")
def lexicon() -> SlotLexicon:
    return SlotLexicon(SLOT_VALUES)


def slot(label: str, text: str) -> FoundSlot:
    return FoundSlot(0, len(text), label, text)


@pytest.mark.parametrize(
    ("label", "text", "lang", "wanted"),
    [
        ("style", "openmoji", "en", [Filter("style", "==", "openmoji")]),
        ("style", "OpenMoji", "en", [Filter("style", "==", "openmoji")]),
        ("style", "openmojy", "en", [Filter("style", "==", "openmoji")]),
        ("skin_tone", "dunkel", "de", [Filter("skin_tone", "==", "dark")]),
        ("skin_tone", "dunkel", "fr", [Filter("skin_tone", "==", "dark")]),
        ("category", "Essen", "de", [Filter("category", "==", "Food & Drink")]),
        ("time", "2015", "en", [Filter("year", "==", 2015)]),
        ("time", "twenty fifteen", "en", [Filter("year", "==", 2015)]),
        ("time", "२०१५", "hi", [Filter("year", "==", 2015)]),
        ("time", "2015-2018", "en", [Filter("year", ">=", 2015), Filter("year", "<=", 2018)]),
    ],
)
def test_a_slot_becomes_a_typed_filter(lexicon, label, text, lang, wanted):
    reading = read_slots([slot(label, text)], lexicon, lang)
    assert (reading.filters, reading.unread) == (wanted, [])


@pytest.mark.parametrize(("label", "text"), [("style", "watercolour"), ("time", "yesterday"), ("count", "heaps")])
def test_what_cannot_be_read_is_named_and_not_guessed(lexicon, label, text):
    reading = read_slots([slot(label, text)], lexicon, "en")
    assert (reading.filters, reading.count, reading.unread) == ([], None, [text])


@pytest.mark.parametrize("label", ["time", "gender"])
def test_a_slot_that_the_catalogue_has_no_values_for_is_no_filter(label):
    photographs = SlotLexicon({"en": {"style": {"photo": ["photo"]}, "gender": {}}})
    reading = read_slots([slot(label, "2015"), slot("count", "3"), slot("style", "photo")], photographs, "en")
    assert (reading.filters, reading.count, reading.unread) == ([Filter("style", "==", "photo")], 3, [])


@pytest.mark.parametrize("label", ["subject", "weather_descriptor"])
def test_slots_that_are_no_filters_by_nature_are_not_missed(lexicon, label):
    assert read_slots([slot(label, "snow")], lexicon, "en").unread == []


@pytest.mark.parametrize(("text", "count"), [("3", 3), ("three", 3), ("９", 9), ("0", 1), ("9999", MAX_RESULTS)])
def test_count(lexicon, text, count):
    assert read_slots([slot("count", text)], lexicon, "en").count == count


def test_a_subject_is_no_filter(lexicon):
    reading = read_slots([slot("subject", "google")], lexicon, "en")
    assert (reading.filters, reading.unread) == ([], [])


def test_a_number_inside_a_longer_one_is_no_year():
    assert years("123456") == []


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("style=openmoji", Filter("style", "==", "openmoji")),
        ("style == OpenMoji ", Filter("style", "==", "openmoji")),
        ("category!=food & drink", Filter("category", "!=", "Food & Drink")),
        ("year>=2019", Filter("year", ">=", 2019)),
        ("year = 2019", Filter("year", "==", 2019)),
        ("year<2019", Filter("year", "<", 2019)),
        ("lang=de", Filter("lang", "==", "de")),
    ],
)
def test_filters_of_the_command_line(text, wanted):
    assert parse_filter(text, VALUES) == wanted


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("colour=red", "Known fields: style, category"),
        ("style=watercolour", "Known: google, openmoji"),
        ("style=opnmoji", "Did you mean 'openmoji'"),
        ("style>=google", "Known: == !="),
        ("year=soon", "takes a year"),
        ("year>=2019 or 1==1", "takes a year"),
        ("openmoji", "field=value"),
        ("", "field=value"),
        ('style=google" or year>0', "has no value"),
        ("style=" + "x" * 1000, "field=value"),
    ],
)
def test_an_unknown_filter_says_what_is_allowed(text, reason):
    with pytest.raises(UnimrError, match=reason):
        parse_filter(text, VALUES)
