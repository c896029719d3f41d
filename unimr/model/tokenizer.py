"""Words as sets of hashed character n-grams: the input of the `ngram` text encoder.

A word is the sum of the vectors of its character 1- to n-grams, with marks at its ends, and of the whole word (the
subword vectors of Bojanowski et al. 2017, "Enriching Word Vectors with Subword Information", section 3.2). There is
no vocabulary: every word of every script has a vector.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol, Self

import numpy as np
import torch

from unimr.data.text import forms
from unimr.model.layout import Layout, by_length, rounded

DISTINCT_STEP = 128
"""The distinct words of a training batch come in multiples of so many: see `unimr.model.layout`."""
TEXTS_STEP = 16
"""Texts of a uniform batch come in multiples of so many."""


class WordBatch(Protocol):
    """A batch of texts, cut into words, for the encoder of its kind."""

    @property
    def layout(self) -> Layout:
        """Where the words of each text are."""

    def to(self, device: torch.device) -> Self:
        """The same batch on a device."""

    def rows(self, own: slice) -> Self:
        """Some of the texts, one after the other, as a batch."""


class Tokenizer(Protocol):
    """Turns texts into word numbers, one for each word of `unimr.data.text.segment`, and word numbers into batches."""

    max_words: int

    @property
    def size(self) -> int:
        """How many words are remembered."""

    def words(self, text: str) -> np.ndarray:
        """Numbers of the words of a text, at most `max_words` `[words]`; a text without words is one empty word."""

    def batch(self, texts: Sequence[np.ndarray], cuts: Sequence[int] = (), few_shapes: bool = False) -> WordBatch:
        """Join the word numbers of several texts into one batch; `cuts` and `few_shapes` as those of `Layout.of`."""

    def shape_of(self, text: np.ndarray) -> tuple[int, ...]:
        """What of a text shapes a batch: its number of words, and of sub-words where there are any."""

    def forget(self) -> None:
        """Drop the remembered words, so that a long-lived service stays small."""


@dataclass(frozen=True)
class NgramBatch:
    """A batch of texts for the `ngram` encoder; every distinct word is embedded once.

    Attributes:
        buckets: n-gram buckets of all distinct words, one after the other `[ngrams]`.
        offsets: where each distinct word begins in `buckets` `[distinct]`.
        words: which distinct word each word is; 0 for filling `[words]`.
        layout: where the words of each text are.
    """

    buckets: torch.Tensor
    offsets: torch.Tensor
    words: torch.Tensor
    layout: Layout

    def to(self, device: torch.device) -> NgramBatch:
        """The same batch on a device."""
        buckets, offsets, words = (value.to(device) for value in (self.buckets, self.offsets, self.words))
        return NgramBatch(buckets, offsets, words, self.layout.to(device))

    def rows(self, own: slice) -> NgramBatch:
        """Some of the texts as a batch, with the distinct words that stand in them."""
        of_text = self.layout.lengths
        begin, count = int(of_text[: own.start].sum()), int(of_text[own].sum())
        distinct, words = torch.unique(self.words[begin : begin + count], return_inverse=True)
        ends = torch.cat([self.offsets[1:], self.offsets.new_tensor([len(self.buckets)])])
        lengths = (ends - self.offsets)[distinct]
        offsets = lengths.cumsum(0) - lengths
        shift = (self.offsets[distinct] - offsets).repeat_interleave(lengths)
        ngrams = torch.arange(len(shift), device=shift.device) + shift
        return NgramBatch(self.buckets[ngrams], offsets, words, self.layout.rows(own).to(words.device))


class NgramTokenizer:
    """Turns texts into word numbers and word numbers into batches; remembers every word it has met."""

    def __init__(self, buckets: int, ngram_max: int, max_words: int) -> None:
        self.buckets, self.ngram_max, self.max_words = buckets, ngram_max, max_words
        self._number: dict[str, int] = {}
        self.ngrams: list[np.ndarray] = []
        """Buckets of every remembered word, in the order they were met."""

    def words(self, text: str) -> np.ndarray:
        """Numbers of the words of a text, at most `max_words` `[words]`; a text without words is one empty word."""
        found = forms(text)[: self.max_words]
        return np.array([self._word(form) for form in found or [""]], dtype=np.int32)

    def _word(self, form: str) -> int:
        number = self._number.get(form)
        if number is None:
            number = self._number[form] = len(self.ngrams)
            self.ngrams.append(ngram_buckets(form, self.buckets, self.ngram_max))
        return number

    def batch(self, texts: Sequence[np.ndarray], cuts: Sequence[int] = (), few_shapes: bool = False) -> NgramBatch:
        """Join the word numbers of several texts into one batch; `cuts` and `few_shapes` as those of `Layout.of`."""
        layout = Layout.of(np.array([len(text) for text in texts]), cuts, few_shapes)
        distinct, inverse = np.unique(np.concatenate(texts), return_inverse=True)
        words = np.zeros(len(layout.positions), dtype=np.int64)
        words[: len(inverse)] = inverse
        ngrams = [self.ngrams[number] for number in distinct]
        if few_shapes:  # by words that stand nowhere, of an n-gram that is there already
            ngrams += [ngrams[-1][-1:]] * (rounded(len(ngrams), DISTINCT_STEP) - len(ngrams))
        offsets = np.cumsum([0] + [len(found) for found in ngrams[:-1]])
        buckets = torch.from_numpy(np.concatenate(ngrams))
        return NgramBatch(buckets, torch.from_numpy(offsets), torch.from_numpy(words), layout)

    def shape_of(self, text: np.ndarray) -> tuple[int, ...]:
        """The number of words of a text."""
        return (len(text),)

    @property
    def size(self) -> int:
        """How many words are remembered."""
        return len(self.ngrams)

    def forget(self) -> None:
        """Drop the remembered words, so that a long-lived service stays small."""
        self._number.clear()
        self.ngrams.clear()


def training_batch(tokenizer: Tokenizer, texts: Sequence[np.ndarray]) -> tuple[WordBatch, np.ndarray]:
    """The batch of a training step, sorted by length, and the place of each of its rows in `texts` `[texts]`."""
    order, cuts = by_length(texts)
    return tokenizer.batch([texts[place] for place in order], cuts, few_shapes=True), order


def uniform_batches(tokenizer: Tokenizer, texts: Sequence[np.ndarray]) -> Iterator[tuple[list[int], WordBatch]]:
    """Batches whose shape each of their texts has alone decided, and the places of their first rows in `texts`.

    A matrix product rounds a row differently with the number of rows beside it, and the last ones, where their number
    is not round. So a text stands among as many of its own length as have distinct words for one step of `few_shapes`,
    whichever they are, and what is missing of a round number is made up by texts of one of these words.
    """
    shapes = [tokenizer.shape_of(text) for text in texts]
    for shape, group in groupby(sorted(range(len(texts)), key=shapes.__getitem__), key=shapes.__getitem__):
        alike, size = list(group), max(1, DISTINCT_STEP // shape[0])
        for start in range(0, len(alike), size):
            places = alike[start : start + size]
            filling = [texts[places[0]][:1]] * (rounded(size, TEXTS_STEP) - len(places))
            yield places, tokenizer.batch([*(texts[place] for place in places), *filling], few_shapes=True)


def ngram_buckets(form: str, buckets: int, ngram_max: int) -> np.ndarray:
    """Bucket numbers (CRC-32 modulo `buckets`) of the word itself and of its character n-grams `[ngrams]`."""
    marked = f"<{form}>"
    grams = {f"={form}"}
    for size in range(1, ngram_max + 1):
        grams.update(marked[start : start + size] for start in range(len(marked) - size + 1))
    grams -= {"<", ">"}
    return np.array(sorted(zlib.crc32(gram.encode()) % buckets for gram in grams), dtype=np.int64)
