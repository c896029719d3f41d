"""Names the model was trained on: where the subject of a query begins and ends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from unimr.data.text import Word, segment
from unimr.files import write_text
from unimr.model.nlu import CONTENT_SLOT, Labels, PredictedSlot

KNOWN_NAMES = "names.txt"

MIN_CONTENT = 0.3
"""A known name is what a query is about, whole, where its words have at least this mean probability of being so.

Not a half: the module hesitates at the second word of a long name far more often than it finds one in a filler.
"""
SURE = 0.9
"""A slot that holds more than a known name stays as it was found if one of its other words is content this surely:
"happy cat" asks for more than "cat"."""


@dataclass(frozen=True)
class KnownNames:
    """Names as words in their normal form, joined by spaces; a gazetteer (Chiu and Nichols 2016, section 3.4).

    The module says word by word what a query is about. Of a name of several words it often finds a part, and a name
    that was trained says where it ends. A name that is not among these is found as well as ever.
    """

    forms: frozenset[str] = frozenset()
    longest: int = 0

    @classmethod
    def of(cls, forms: Iterable[str]) -> KnownNames:
        """The names with these forms."""
        known = frozenset(forms) - {""}
        return cls(known, max((form.count(" ") + 1 for form in known), default=0))

    @classmethod
    def of_tables(cls, texts: pd.DataFrame, labels: Labels) -> KnownNames:
        """The train names of a table of texts; none where the labels have no slot for what a query is about."""
        if CONTENT_SLOT not in labels.slots:
            return cls()
        names = texts.loc[(texts["split"] == "train") & (texts["role"] == "name"), "text"]
        return cls.of(_form(segment(name)) for name in names)

    @classmethod
    def read(cls, path: Path) -> KnownNames:
        """The names in a file, none if it is not there."""
        return cls.of(path.read_text(encoding="utf-8").split("\n")) if path.exists() else cls()

    def write(self, path: Path) -> None:
        """Write a name a line."""
        write_text(path, "".join(f"{form}\n" for form in sorted(self.forms)))

    def spans(self, words: Sequence[Word]) -> list[tuple[int, int]]:
        """First and one past the last word of every known name, the longest first from the left."""
        found, start = [], 0
        while start < len(words):
            ends = range(min(start + self.longest, len(words)), start, -1)
            end = next((end for end in ends if _form(words[start:end]) in self.forms), None)
            if end is not None:
                found.append((start, end))
            start = end or start + 1
        return found

    def complete(
        self, text: str, words: Sequence[Word], slots: Sequence[PredictedSlot], content: Sequence[float]
    ) -> tuple[PredictedSlot, ...]:
        """Put known names in the place of the parts of them that were found; other slots stay as they are.

        Args:
            text: the query.
            words: its words.
            slots: what was found, word by word.
            content: probability of each word that the query is about it `[words]`.
        """
        kept = list(slots)
        for first, last in self.spans(words[: len(content)]):
            start, end, confidence = words[first].start, words[last - 1].end, float(np.mean(content[first:last]))
            overlapping = [slot for slot in kept if slot.start < end and start < slot.end]
            others = [
                probability
                for word, probability in zip(words, content, strict=False)
                if any(slot.start <= word.start < slot.end for slot in overlapping) and not start <= word.start < end
            ]
            is_name = confidence >= MIN_CONTENT and max(others, default=0.0) < SURE
            if is_name and all(slot.label == CONTENT_SLOT for slot in overlapping):
                name = PredictedSlot(start, end, CONTENT_SLOT, text[start:end], confidence)
                kept = [name, *(slot for slot in kept if slot not in overlapping)]
        return tuple(sorted(kept, key=lambda slot: slot.start))


def _form(words: Sequence[Word]) -> str:
    return " ".join(word.form for word in words)
