"""Words as runs of sub-words of a pretrained tokenizer: the input of the `hf` text encoder.

A text is cut into sub-words as a whole, as the checkpoint expects, and each sub-word is given to the word it lies in.
A sub-word that covers several words (scripts without spaces are cut by character here) belongs to each of them; one
that lies in no word, such as a full stop, to the word before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unimr.data.text import Word, segment
from unimr.errors import UnimrError
from unimr.model.hf import check_name, explained
from unimr.model.layout import Layout, rounded
from unimr.model_params import HfTextParams

SUBWORDS_STEP = 8
"""Training batches are padded to a multiple of so many sub-words: they come in few shapes."""
FILE = "tokenizer.json"

Piece = tuple[tuple[int, ...], bool]
"""A word: the numbers of its sub-words, and whether it shares the first of them with the word before."""


@dataclass(frozen=True)
class SubwordPart:
    """Texts of like length, side by side.

    Attributes:
        ids: numbers of the sub-words, 0 where there is none `[texts, subwords]`.
        attention: True where there is a sub-word `[texts, subwords]`.
        members: share of each sub-word in each word; the shares of a word sum to 1 `[texts, tokens, subwords]`.
    """

    ids: torch.Tensor
    attention: torch.Tensor
    members: torch.Tensor


@dataclass(frozen=True)
class SubwordBatch:
    """A batch of texts for the encoder: its parts, as `layout` cuts it."""

    parts: tuple[SubwordPart, ...]
    layout: Layout

    def to(self, device: torch.device) -> SubwordBatch:
        """The same batch on a device."""
        parts = (SubwordPart(*(value.to(device) for value in vars(part).values())) for part in self.parts)
        return SubwordBatch(tuple(parts), self.layout.to(device))

    def rows(self, own: slice) -> SubwordBatch:
        """Some of the texts as a batch."""
        layout = self.layout.rows(own)
        parts: list[SubwordPart] = []
        for part, begin in zip(self.parts, self.layout.bounds, strict=False):
            taken = slice(max(0, own.start - begin), max(0, own.stop - begin))
            if len(part.ids[taken]):
                width = layout.widths[len(parts)]
                parts.append(SubwordPart(part.ids[taken], part.attention[taken], part.members[taken, :width]))
        return SubwordBatch(tuple(parts), layout.to(self.layout.mask.device))


class SubwordTokenizer:
    """Turns texts into word numbers and word numbers into batches; remembers every word it has met.

    Words are case-folded, as everywhere in this project: a query finds the same in any case.
    """

    def __init__(self, backend: Any, params: HfTextParams) -> None:
        backend.no_truncation()
        backend.no_padding()
        self._backend = backend
        self.max_words = params.max_words
        first, last = _special(backend)
        self._first = first + backend.encode(params.prefix, add_special_tokens=False).ids
        self._last = last
        self._room = params.max_tokens - len(self._first) - len(last)
        if self._room < 1:
            raise UnimrError(f"model.text.max_tokens is {params.max_tokens}: nothing is left beside prefix and marks.")
        self._number: dict[Piece, int] = {}
        self._pieces: list[Piece] = []

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json`, all that is needed to make it anew."""
        self._backend.save(str(folder / FILE))

    def shape_of(self, text: np.ndarray) -> tuple[int, ...]:
        """The number of words of a text, and of sub-words, rounded as in a batch of few shapes."""
        ids, _ = self._lay_out([self._pieces[number] for number in text])
        return len(text), rounded(len(ids), SUBWORDS_STEP)

    @property
    def size(self) -> int:
        """How many words are remembered."""
        return len(self._pieces)

    def forget(self) -> None:
        """Drop the remembered words, so that a long-lived service stays small."""
        self._number.clear()
        self._pieces.clear()

    def words(self, text: str) -> np.ndarray:
        """Numbers of the words of a text, at most `max_words` `[words]`; a text without words is one empty word."""
        found = segment(text)
        words = found[: self.max_words]
        folded, spans = _folded(text if len(words) == len(found) else text[: words[-1].end], words)
        encoded = self._backend.encode(folded, add_special_tokens=False)
        members = _members(encoded.offsets, spans or [(0, 0)])
        numbers = []
        for place, tokens in enumerate(members):
            shared = place > 0 and bool(tokens) and members[place - 1][-1:] == tokens[:1]
            numbers.append(self._remember((tuple(encoded.ids[token] for token in tokens), shared)))
        return np.array(numbers, dtype=np.int32)

    def _remember(self, piece: Piece) -> int:
        number = self._number.get(piece)
        if number is None:
            number = self._number[piece] = len(self._pieces)
            self._pieces.append(piece)
        return number

    def batch(self, texts: Sequence[np.ndarray], cuts: Sequence[int] = (), few_shapes: bool = False) -> SubwordBatch:
        """Join the word numbers of several texts into one batch; `cuts` and `few_shapes` as those of `Layout.of`."""
        layout = Layout.of(np.array([len(text) for text in texts]), cuts, few_shapes)
        step = SUBWORDS_STEP if few_shapes else 1
        parts = (
            self._part(texts[start:stop], width, step)
            for (start, stop), width in zip(pairwise(layout.bounds), layout.widths, strict=True)
        )
        return SubwordBatch(tuple(parts), layout)

    def _part(self, texts: Sequence[np.ndarray], tokens: int, step: int) -> SubwordPart:
        laid = [self._lay_out([self._pieces[number] for number in text]) for text in texts]
        widest = rounded(max(len(ids) for ids, _ in laid), step)
        ids = np.zeros((len(texts), widest), dtype=np.int64)
        members = np.zeros((len(texts), tokens, widest), dtype=np.float32)
        for row, (of_text, places) in enumerate(laid):
            ids[row, : len(of_text)] = of_text
            for word, of_word in enumerate(places):
                members[row, word, of_word] = 1 / max(1, len(of_word))
        attention = np.arange(widest) < np.array([len(of_text) for of_text, _ in laid])[:, None]
        return SubwordPart(*(torch.from_numpy(value) for value in (ids, attention, members)))

    def _lay_out(self, pieces: Sequence[Piece]) -> tuple[list[int], list[list[int]]]:
        """All sub-words of a text, cut to the room there is, and the places of those of each word."""
        ids, places = [*self._first], []
        for of_word, shared in pieces:
            # The word before may have been left out in training; then this one brings the sub-word itself.
            begin = len(ids) - 1 if shared and ids[-1:] == [of_word[0]] else len(ids)
            ids[begin:] = of_word
            places.append(range(begin, len(ids)))
        end = len(self._first) + self._room
        return ids[:end] + self._last, [[place for place in of_word if place < end] for of_word in places]


def _folded(text: str, words: Sequence[Word]) -> tuple[str, list[tuple[int, int]]]:
    """The text with every word in its normal form, and where each of them then stands."""
    parts, spans, length, at = [], [], 0, 0
    for word in words:
        gap = text[at : word.start]
        begin, length = length + len(gap), length + len(gap) + len(word.form)
        parts += [gap, word.form]
        spans.append((begin, length))
        at = word.end
    return "".join([*parts, text[at:]]), spans


def _members(offsets: Sequence[tuple[int, int]], spans: Sequence[tuple[int, int]]) -> list[list[int]]:
    """For each word its sub-words, by place; both are in the order of the text."""
    members: list[list[int]] = [[] for _ in spans]
    owner = first = 0
    for token, (begin, end) in enumerate(offsets):
        while first < len(spans) - 1 and spans[first][1] <= begin:
            first += 1
        over = [word for word in range(first, len(spans)) if spans[word][0] < end and begin < spans[word][1]]
        owner = over[-1] if over else owner
        for word in over or [owner]:
            members[word].append(token)
    return members


def _special(backend: Any) -> tuple[list[int], list[int]]:
    """Numbers of the marks that the tokenizer lays around a text: those before it, and those after."""
    plain, marked = (backend.encode("a", add_special_tokens=special).ids for special in (False, True))
    for begin in range(len(marked) - len(plain) + 1):
        if marked[begin : begin + len(plain)] == plain:
            return marked[:begin], marked[begin + len(plain) :]
    return [], []


def read_tokenizer(params: HfTextParams, saved: Path | None = None) -> SubwordTokenizer:
    """The tokenizer of a checkpoint, or that of an encoder saved in the folder `saved`.

    Raises:
        UnimrError: it cannot be had, or is not one of the fast ones.
    """
    from tokenizers import Tokenizer

    source = str(saved or check_name(params.tokenizer or params.name))
    path = Path(source) / FILE
    if not path.exists():
        from transformers import AutoTokenizer

        with explained("model.text", f"the tokenizer of {source}"):
            return SubwordTokenizer(AutoTokenizer.from_pretrained(source).backend_tokenizer, params)
    try:
        backend = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing more precise
        raise UnimrError(f"The tokenizer {path} is damaged ({error}). Fetch the checkpoint again.") from error
    return SubwordTokenizer(backend, params)
