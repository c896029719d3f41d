from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unimr.data.text import REMEMBERED_CHARACTERS, _KindOf, forms, is_fine_script, lexical_terms, normalise, segment

SENTENCES = {
    "en": ("Show me a cat, please!", ["show", "me", "a", "cat", "please"]),
    "de": ("Zeig die Straße", ["zeig", "die", "strasse"]),
    "fr": ("l'homme qui rit", ["l", "homme", "qui", "rit"]),
    "ru": ("покажи кошку", ["покажи", "кошку"]),
    "ar": ("أرني قطة، شكرا", ["أرني", "قطة", "شكرا"]),
    "hi": ("मुझे बिल्ली दिखाओ", ["मुझे", "बिल्ली", "दिखाओ"]),
    "ta": ("பூனை காட்டு", ["பூனை", "காட்டு"]),
    "ko": ("고양이 보여줘", ["고양이", "보여줘"]),
    "am": ("ድመት አሳየኝ", ["ድመት", "አሳየኝ"]),
    "zh": ("红色的猫", ["红", "色", "的", "猫"]),
    "ja": ("赤いカメラを見せて", ["赤", "い", "カメラ", "を", "見", "せ", "て"]),
    "th": ("แมวส้ม", ["แ", "ม", "ว", "ส้", "ม"]),
    "keycap": ("keycap: *", ["keycap", "*"]),
}


@pytest.mark.parametrize("lang", SENTENCES)
def test_words_of_every_script(lang):
    text, words = SENTENCES[lang]
    assert [word.form for word in segment(text)] == words


@pytest.mark.parametrize("lang", SENTENCES)
def test_places_are_those_of_the_text_as_given(lang):
    text, _ = SENTENCES[lang]
    for word in segment(text):
        assert normalise(text[word.start : word.end]) == word.form


@settings(deadline=None)
@given(st.text(max_size=60))
def test_words_do_not_overlap_and_lie_in_the_text(text):
    end = 0
    for word in segment(text):
        assert end <= word.start < word.end <= len(text)
        end = word.end


@settings(deadline=None)
@given(st.text(max_size=60))
def test_forms_are_those_of_the_words(text):
    assert forms(text) == [word.form for word in segment(text)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("カーー", ["カーー"]),  # the mark of a long sound goes on with Katakana
        ("ー", ["ー"]),
        ("aー", ["aー"]),  # and with a letter
        ("ก้าa้", ["ก้", "า", "a้"]),  # a mark goes with what it stands on, a vowel of Thai stands alone
        ("e\u0301\u0301", ["é\u0301"]),
        ("\u0301a", ["a"]),  # a mark on nothing is none
        ("😀😀+", ["😀", "😀", "+"]),
    ],
)
def test_marks_and_signs(text, words):
    assert forms(text) == words


def test_no_more_characters_are_remembered_than_texts_are_written_with():
    kinds = _KindOf()
    every = "".join(map(chr, range(REMEMBERED_CHARACTERS + 5_000)))
    assert len(every.translate(kinds)) == len(every)
    assert len(kinds) == REMEMBERED_CHARACTERS
    assert every[-1].translate(kinds) == "l"  # a syllable of Hangul


def test_forms_of_one_text_are_the_same_after_normalising():
    assert normalise("  Ｃａｆé \n STRASSE ") == normalise("café straße") == "café strasse"


@settings(deadline=None)
@given(st.text(max_size=40))
def test_normalising_leaves_no_edges(text):
    assert normalise(text) == normalise(text).strip()


@pytest.mark.parametrize(
    ("text", "bigrams"),
    [("红色猫", ["红色", "色猫"]), ("赤い花", ["赤い", "い花"]), ("แมว", ["แม", "มว"])],
)
def test_neighbouring_characters_become_bigrams(text, bigrams):
    assert lexical_terms(text)[-len(bigrams) :] == bigrams
    assert len(lexical_terms(text)) == len(segment(text)) + len(bigrams)


def test_no_bigrams_across_a_space_or_in_scripts_with_spaces():
    assert lexical_terms("猫 犬") == ["猫", "犬"]
    assert lexical_terms("red cat") == ["red", "cat"]


def test_katakana_is_kept_whole():
    assert not is_fine_script("カメラ") and is_fine_script("猫") and is_fine_script("ひ")
