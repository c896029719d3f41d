r"""Normalising and segmenting text of any script.

Words are found by Unicode properties. Python's `\w` leaves out combining vowel signs and so breaks Hindi, Tamil and
Thai; scripts without spaces (Han, Kana, Thai, Lao, Khmer, Myanmar) are cut finer, since a whole sentence would
otherwise be one word.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import regex

MAX_QUERY_CHARACTERS = 2_000
"""Longer queries are refused before anything else looks at them."""

_FINE = regex.compile(r"[\p{Han}\p{Hiragana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]")
_SPACE = regex.compile(r"\s+")

_KINDS = {
    "t": regex.compile(rf"(?={_FINE.pattern})\p{{M}}"),  # a mark of a finely cut script
    "f": _FINE,  # another character of one
    "k": regex.compile(r"\p{Katakana}"),
    "-": regex.compile("ー"),  # lengthens a sound of Katakana, and belongs to no script
    "l": regex.compile(r"[\p{L}\p{N}]"),
    "m": regex.compile(r"\p{M}"),
    "s": regex.compile(r"[\p{S}#*]"),  # signs that names are made of ("keycap: *")
}
"""Kinds of characters, each without those of the kinds above it; all others are a space."""

_WORD = re.compile(
    "[ft][mt]*"  # one character with its marks: no spaces, and a slot can begin anywhere
    "|[k-]+"  # loan words, whole
    "|[l][-lmt]*"  # an apostrophe divides: a slot may follow an article (l'homme)
    "|s"
)
"""A word, in kinds of characters."""


REMEMBERED_CHARACTERS = 50_000
"""More than texts are written with: a service that is sent all there are does not grow."""


class _KindOf(dict[int, str]):
    """Code point → its kind, found once: the properties of a character take longer to look up than a word to find."""

    def __missing__(self, point: int) -> str:
        character = chr(point)
        kind = next((kind for kind, pattern in _KINDS.items() if pattern.match(character)), " ")
        if len(self) < REMEMBERED_CHARACTERS:
            self[point] = kind
        return kind


_KIND_OF = _KindOf()


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
    return [Word(normalise_word(text[start:end]), start, end) for start, end in _spans(text)]


def forms(text: str) -> list[str]:
    """The normalised words of a text, as those of `segment`, at half its time."""
    return [normalise_word(text[start:end]) for start, end in _spans(text)]


def _spans(text: str) -> Iterator[tuple[int, int]]:
    return (match.span() for match in _WORD.finditer(text.translate(_KIND_OF)))


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
