from __future__ import annotations

import pandas as pd
import pytest

from unimr.data.text import segment
from unimr.model.names import KnownNames
from unimr.model.nlu import CATALOGUE_LABELS, Labels, PredictedSlot

NAMES = KnownNames.of(["waving hand", "waving hand dark skin tone", "cat", "旗 中 国"])


def completed(text, content, *slots):
    found = [PredictedSlot(text.index(part), text.index(part) + len(part), label, part, 0.9) for part, label in slots]
    return [(slot.label, slot.text) for slot in NAMES.complete(text, segment(text), found, content)]


@pytest.mark.parametrize(
    ("text", "content", "slots", "expected"),
    [
        ("one waving hand emoji", [0.6, 0.6, 0.6, 0.1], [("one waving hand", "subject")], "waving hand"),
        ("one waving hand emoji", [0.1, 0.6, 0.2, 0.1], [("waving", "subject")], "waving hand"),
        ("one waving hand emoji", [0.1, 0.5, 0.3, 0.1], [], "waving hand"),
        ("Waving Hand: dark skin tone", [0.9, 0.9, 0.9, 0, 0], [("Waving", "subject")], "Waving Hand: dark skin tone"),
        ("画旗: 中国吧", [0.1, 0.9, 0.9, 0.2, 0.1], [("旗: 中", "subject")], "旗: 中国"),
        ("one happy cat", [0.1, 0.95, 0.99], [("happy cat", "subject")], "happy cat"),
        ("one happy cat", [0.1, 0.85, 0.99], [("happy cat", "subject")], "cat"),
    ],
)  # fmt: skip
def test_a_known_name_is_found_whole_and_what_surely_goes_with_it_stays(text, content, slots, expected):
    assert completed(text, content, *slots) == [("subject", expected)]


def test_a_name_that_nothing_asks_for_is_no_subject():
    assert completed("a dog not a cat", [0.1, 0.9, 0.1, 0.1, 0.2], ("dog", "subject")) == [("subject", "dog")]


def test_a_name_that_is_not_known_is_found_as_ever():
    assert completed("show a zebu", [0.1, 0.1, 0.9], ("zebu", "subject")) == [("subject", "zebu")]


def test_slots_of_other_labels_stay():
    slots = [("dark skin tone", "skin_tone"), ("waving hand", "subject")]
    found = completed("waving hand dark skin tone", [0.9, 0.9, 0.4, 0.3, 0.3], *slots)
    assert found == [("subject", "waving hand"), ("skin_tone", "dark skin tone")]


def test_words_beyond_the_longest_query_are_left_alone():
    assert completed("a cat", [0.1]) == []


def test_only_train_names_are_known():
    rows = [("Red  CAT", "name", "train"), ("dog", "name", "test_pair"), ("pet", "keyword", "train")]
    texts = pd.DataFrame(rows, columns=["text", "role", "split"])
    assert KnownNames.of_tables(texts, CATALOGUE_LABELS).forms == {"red cat"}
    assert not KnownNames.of_tables(texts, Labels(("play",), ("song",))).forms


def test_a_model_carries_its_names(model, tmp_path, monkeypatch):
    monkeypatch.setattr(model, "known_names", NAMES)
    model.save(tmp_path / "model", {})
    again = type(model).load(tmp_path / "model")
    assert again.known_names == NAMES
    assert again.known_names.longest == 5


def test_a_model_without_names_has_no_file_of_them(model, tmp_path):
    model.save(tmp_path / "model", {})
    assert not (tmp_path / "model" / "names.txt").exists()
    assert type(model).load(tmp_path / "model").known_names == KnownNames()
