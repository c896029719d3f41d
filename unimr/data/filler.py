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
_REPLACED, _INSERTED = 0.35, 0.08  # shares of the words
_WORDS = {True: re.compile(r"\s+|\S+"), False: re.compile(r"\w{1,2}|\W+")}
_EDGES = ",.;:!?،؟؛。、，！？।¿¡«»“”„\"'‘’()"
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

    def replace_words(self, text: str, glued: tuple[bool, bool], keep: str, rng: random.Random) -> str:
        """Returns the text with about a third of its words replaced and a few inserted.

        ``glued`` says whether a name touches the text's start or end: a word written together with
        it stays. With a word to ``keep``, that one and at least half of the others stay too.
        """
        words = _WORDS[self._spaces].findall(text)
        budget = len(words) if not keep else max(1, sum(bool(word.strip()) for word in words) // 2)
        for position, word in enumerate(words):
            touches = (position == 0 and glued[0]) or (position == len(words) - 1 and glued[1])
            core = word.strip(_EDGES)
            if not any(c.isalpha() for c in core) or core == keep or (touches and self._spaces):
                continue
            if budget and rng.random() < _REPLACED and (pseudo := self.word(rng)):
                budget -= 1
                words[position] = word.replace(core, pseudo, 1)
            if rng.random() < _INSERTED and (pseudo := self.word(rng)):
                words[position] = pseudo + (" " if self._spaces else "") + words[position]
        return "".join(words)

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
