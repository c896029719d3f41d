"""Pseudo-words: filler that looks like a language and means nothing.

A model that has only seen a grammar's few hundred words learns those words by heart, and takes any
other for a catalogue word. Filler of pseudo-words, labelled as noise, teaches it the difference.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Sequence

_END = ""
_LONGEST = {True: 12, False: 3}
_SHORTEST = {True: 3, False: 1}
_ORDER = {True: 2, False: 1}  # scripts without spaces have thousands of characters: pairs are enough
_ATTEMPTS = 12
_LETTERS = re.compile(r"[^\s\d_.,;:!?()\[\]{}<>«»“”„‘’'\"/&+*#%|~^=$…。、，！？：；・（）「」『』–—-]+")


class Filler:
    """A character Markov chain over a language's own vocabulary (order 2; order 1 without spaces)."""

    def __init__(self, vocabulary: Sequence[str], spaces: bool) -> None:
        """Learns from ``vocabulary``; ``spaces`` says whether the script separates words by spaces."""
        self._spaces = spaces
        self._order = _ORDER[spaces]
        self._known = {word.casefold() for entry in vocabulary for word in _LETTERS.findall(entry)}
        self._next: dict[str, list[str]] = defaultdict(list)
        for word in sorted(self._known):
            padded = "\x02" * self._order + word
            for position in range(self._order, len(padded)):
                self._next[padded[position - self._order : position]].append(padded[position])
            self._next[padded[-self._order :]].append(_END)

    def word(self, rng: random.Random) -> str | None:
        """Returns a word that is not in the vocabulary, or None if the chain finds none."""
        for _ in range(_ATTEMPTS if self._next else 0):
            word = self._walk(rng)
            if len(word) >= _SHORTEST[self._spaces] and (not self._spaces or word not in self._known):
                return word
        return None

    def _walk(self, rng: random.Random) -> str:
        context = "\x02" * self._order
        word = ""
        while len(word) < _LONGEST[self._spaces]:
            character = rng.choice(self._next[context])
            if character == _END:
                break
            word += character
            context = (context + character)[-self._order :]
        return word
