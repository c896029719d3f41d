r"""Normalising and segmenting text of any script.

Words are found by Unicode properties. Python's `\w` leaves out combining vowel signs and so breaks Hindi, Tamil and
Thai; scripts without spaces (Han, Kana, Thai, Lao, Khmer, Myanmar) are cut finer, since a whole sentence would
otherwise be one word.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import regex

MAX_QUERY_CHARACTERS = 2_000
"""Longer queries are refused before anything else looks at them."""

_FINE_SCRIPTS = r"\p{Han}\p{Hiragana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_LETTER = rf"[[\p{{L}}\p{{N}}]--[{_FINE_SCRIPTS}\p{{Katakana}}]]"
_WORD = regex.compile(
    rf"[{_FINE_SCRIPTS}]\p{{M}}*"  # one character with its marks: no spaces, and a slot can begin anywhere
    r"|[\p{Katakana}ー]+"  # loan words, whole
    rf"|{_LETTER}(?:{_LETTER}|\p{{M}})*"  # an apostrophe divides: a slot may follow an article (l'homme)
    r"|[\p{S}#*]",  # signs that names are made of ("keycap: *")
    regex.V1,
)
_FINE = regex.compile(rf"[{_FINE_SCRIPTS}]", regex.V1)
_SPACE = regex.compile(r"\s+")


class Word(NamedTuple):  # a dataclass takes twice as long to make, and there are millions
    """A word of a text: its normalised form and its place `text[start:end]` in the original."""

    form: str
    start: int
    end: int


def normalise(text: str) -> str:
    """NFKC, case-folded, white space collapsed: two texts with the same result are the same text to us."""
    folded: str = _SPACE.sub(" ", unicodedata.normalize("NFKC", text).casefold())
    return folded.strip()


def segment(text: str) -> list[Word]:
    """Cut a text into words with their places in the original text.

    The places are those of the text as given, so NFKC is applied to each word alone. Han, Hiragana and the
    scripts of South-East Asia are cut by character, Katakana and everything with spaces by word.
    """
    return [Word(normalise_word(match.group(0)), *match.span()) for match in _WORD.finditer(text)]


@lru_cache(maxsize=200_000)
def normalise_word(surface: str) -> str:
    """Normal form of one word (NFKC, case-folded); remembered, since the same words come again and again."""
    return unicodedata.normalize("NFKC", surface).casefold()


def is_fine_script(form: str) -> bool:
    """Whether a word belongs to a script that is cut by character (Han, Hiragana, Thai, Lao, Khmer, Myanmar)."""
    return bool(_FINE.match(form))


def lexical_terms(text: str) -> list[str]:
    """Terms of a text for lexical search: its words, and bigrams of neighbouring characters in finely cut scripts."""
    words = segment(text)
    terms = [word.form for word in words]
    for left, right in pairwise(words):
        if left.end == right.start and is_fine_script(left.form) and is_fine_script(right.form):
            terms.append(left.form + right.form)
    return terms
