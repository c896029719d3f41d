from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from unimr.errors import UnimrError
from unimr.index.lexical import LexicalIndex, documents_of, exactness

ROWS = [
    ("1", "en", "name", "cat"), ("1", "en", "keyword", "pet"), ("1", "ja", "name", "猫"),
    ("2", "en", "name", "cat with tears of joy"), ("2", "ja", "name", "嬉し泣きする猫"),
    ("3", "en", "name", "grinning cat"), ("3", "en", "keyword", "happy"), ("3", "de", "name", "grinsende Katze"),
    ("4", "hi", "name", "बिल्ली"), ("4", "en", "description", "a lonely description"),
    ("5", "th", "name", "ภูเขาไฟ"), ("5", "zh", "name", "火山"), ("6", "zh", "name", "山"),
    ("7", "en", "name", "sun"),
    *[("7", "en", "keyword", word) for word in ("day", "hot", "ray", "sky", "light", "star")],
    ("8", "en", "name", "sun sun"),
]  # fmt: skip


@pytest.fixture(scope="module")
def index() -> LexicalIndex:
    return LexicalIndex.build(pd.DataFrame(ROWS, columns=["item_id", "lang", "role", "text"]))


@pytest.mark.parametrize(
    ("query", "item"),
    [("cat", "1"), ("CAT", "1"), ("happy cat", "3"), ("cat tears", "2"), ("Katze", "3"), ("猫", "1"), ("火山", "5"),
     ("ภูเขาไฟ", "5"), ("बिल्ली", "4"), ("嬉し泣き", "2"), ("lonely", "4"),
     ("sun", "7")],
)  # fmt: skip
def test_best_item(index, query, item):
    assert index.search(query, 3)[0].item_id == item


def test_unknown_words_find_nothing(index):
    assert index.search("zebra", 5) == []
    assert index.language("zebra") is None


def test_masked_items_are_left_out(index):
    allowed = np.array([item != "1" for item in index.items])
    assert "1" not in [hit.item_id for hit in index.search("cat", 5, allowed)]


@pytest.mark.parametrize(("query", "lang"), [("happy cat", "en"), ("Katze", "de"), ("बिल्ली", "hi"), ("嬉し泣き", "ja")])
def test_language_of_a_query(index, query, lang):
    assert index.language(query) == lang


def test_saved_and_loaded_it_answers_the_same(index, tmp_path):
    index.save(tmp_path)
    assert LexicalIndex.load(tmp_path).search("cat", 5) == index.search("cat", 5)


def test_a_damaged_file_is_named(index, tmp_path):
    index.save(tmp_path)
    (tmp_path / "lexical.safetensors").write_bytes(b"no")
    with pytest.raises(UnimrError, match=r"lexical\.safetensors"):
        LexicalIndex.load(tmp_path)


def test_no_texts_is_an_error():
    with pytest.raises(UnimrError, match="no texts"):
        LexicalIndex.build(pd.DataFrame([], columns=["item_id", "lang", "role", "text"]))


@pytest.mark.parametrize(
    ("text", "found"),
    [("Cat", {"1": 2}), ("happy", {"3": 1}), ("grinning", {}), ("grinning cat", {"3": 2}), ("猫", {"1": 2}), ("", {})],
)
def test_what_is_asked_for_word_for_word(index, text, found):
    assert {hit.item_id: hit.score for hit in index.exact(text)} == found


def test_masked_items_are_not_found_word_for_word_either(index):
    assert index.exact("cat", np.array([item != "1" for item in index.items])) == []


def test_a_name_that_is_a_keyword_too_counts_as_a_name():
    rows = [("1", "en", "name", "sea"), ("1", "en", "keyword", "sea"), ("2", "en", "keyword", "sea")]
    texts = pd.DataFrame(rows, columns=["item_id", "lang", "role", "text"])
    assert {hit.item_id: hit.score for hit in LexicalIndex.build(texts).exact("sea")} == {"1": 2, "2": 1}
    documents = documents_of(texts)
    assert [exactness("Sea", documents[item, "en"]) for item in ("1", "2")] == [2, 1]
    assert exactness("seaside", documents["1", "en"]) == 0
