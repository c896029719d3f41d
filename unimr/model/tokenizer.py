"""Words as sets of hashed character n-grams: the input of the `ngram` text encoder.

A word is the sum of the vectors of its character 1- to n-grams, with marks at its ends, and of the whole word (the
subword vectors of Bojanowski et al. 2017, "Enriching Word Vectors with Subword Information", section 3.2). There is
no vocabulary: every word of every script has a vector.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
import torch

from unimr.data.text import segment

TOKENS_STEP, DISTINCT_STEP, CUTS = 4, 128, 8
"""Training batches come in few shapes: texts are padded to a multiple of so many words, the distinct words of a batch
to a multiple of so many, and a batch is cut at so many places. On a CPU the kernels of every new shape are compiled
first, which took a third of the time of a step.
"""


class WordBatch(Protocol):
    """A batch of texts, cut into words, for the encoder of its kind."""

    @property
    def mask(self) -> torch.Tensor:
        """True where there is a word `[batch, tokens]`."""

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

    def batch(self, texts: Sequence[np.ndarray], few_shapes: bool = False) -> WordBatch:
        """Join the word numbers of several texts into one padded batch; for training, of one of few shapes."""

    def forget(self) -> None:
        """Drop the remembered words, so that a long-lived service stays small."""


@dataclass(frozen=True)
class NgramBatch:
    """A batch of texts for the `ngram` encoder; every distinct word is embedded once.

    Attributes:
        buckets: n-gram buckets of all distinct words, one after the other `[ngrams]`.
        offsets: where each distinct word begins in `buckets` `[distinct]`.
        words: which distinct word stands where; 0 where there is none `[batch, tokens]`.
        mask: True where there is a word `[batch, tokens]`.
    """

    buckets: torch.Tensor
    offsets: torch.Tensor
    words: torch.Tensor
    mask: torch.Tensor

    def to(self, device: torch.device) -> NgramBatch:
        """The same batch on a device."""
        return NgramBatch(*(value.to(device) for value in (self.buckets, self.offsets, self.words, self.mask)))

    def rows(self, own: slice) -> NgramBatch:
        """Some of the texts as a batch, with the distinct words that stand in them."""
        distinct, words = torch.unique(self.words[own], return_inverse=True)
        ends = torch.cat([self.offsets[1:], self.offsets.new_tensor([len(self.buckets)])])
        lengths = (ends - self.offsets)[distinct]
        offsets = lengths.cumsum(0) - lengths
        shift = (self.offsets[distinct] - offsets).repeat_interleave(lengths)
        ngrams = torch.arange(len(shift), device=shift.device) + shift
        return NgramBatch(self.buckets[ngrams], offsets, words, self.mask[own])


class NgramTokenizer:
    """Turns texts into word numbers and word numbers into batches; remembers every word it has met."""

    def __init__(self, buckets: int, ngram_max: int, max_words: int) -> None:
        self.buckets, self.ngram_max, self.max_words = buckets, ngram_max, max_words
        self._number: dict[str, int] = {}
        self.ngrams: list[np.ndarray] = []
        """Buckets of every remembered word, in the order they were met."""

    def words(self, text: str) -> np.ndarray:
        """Numbers of the words of a text, at most `max_words` `[words]`; a text without words is one empty word."""
        forms = [word.form for word in segment(text)[: self.max_words]]
        return np.array([self._word(form) for form in forms or [""]], dtype=np.int32)

    def _word(self, form: str) -> int:
        number = self._number.get(form)
        if number is None:
            number = self._number[form] = len(self.ngrams)
            self.ngrams.append(ngram_buckets(form, self.buckets, self.ngram_max))
        return number

    def batch(self, texts: Sequence[np.ndarray], few_shapes: bool = False) -> NgramBatch:
        """Join the word numbers of several texts into one padded batch; for training, of one of few shapes."""
        lengths = np.array([len(text) for text in texts])
        distinct, inverse = np.unique(np.concatenate(texts), return_inverse=True)
        mask = np.arange(rounded(lengths.max(), TOKENS_STEP if few_shapes else 1)) < lengths[:, None]
        words = np.zeros(mask.shape, dtype=np.int64)
        words[mask] = inverse
        ngrams = [self.ngrams[number] for number in distinct]
        if few_shapes:  # by words that stand nowhere, of an n-gram that is there already
            ngrams += [ngrams[-1][-1:]] * (rounded(len(ngrams), DISTINCT_STEP) - len(ngrams))
        offsets = np.cumsum([0] + [len(found) for found in ngrams[:-1]])
        return NgramBatch(
            torch.from_numpy(np.concatenate(ngrams)),
            torch.from_numpy(offsets),
            torch.from_numpy(words),
            torch.from_numpy(mask),
        )

    @property
    def size(self) -> int:
        """How many words are remembered."""
        return len(self.ngrams)

    def forget(self) -> None:
        """Drop the remembered words, so that a long-lived service stays small."""
        self._number.clear()
        self.ngrams.clear()


def in_parts(tokenizer: Tokenizer, texts: Sequence[np.ndarray], parts: int) -> tuple[list[WordBatch], np.ndarray]:
    """Batches of a training step, texts of like length together, and the place of each row in `texts` `[texts]`."""
    places = by_length(texts, parts)
    batches = [tokenizer.batch([texts[place] for place in part], few_shapes=True) for part in places]
    return batches, np.concatenate(places)


def by_length(texts: Sequence[np.ndarray], parts: int) -> list[np.ndarray]:
    """Places of the texts, sorted by their number of words and cut into at most `parts` with little padding."""
    lengths = np.array([len(text) for text in texts])
    order = np.argsort(lengths, kind="stable")
    return np.split(order, _least_padding(rounded(lengths[order], TOKENS_STEP), parts))


def _least_padding(widths: np.ndarray, parts: int) -> list[int]:
    """Where to cut sorted widths into at most `parts`, so that texts times widest, summed over parts, is least."""
    count = len(widths)
    ends = [*range(-(-count // CUTS), count, -(-count // CUTS)), count]
    best = {end: (end * int(widths[end - 1]), [0]) for end in ends}  # end → (padded words up to it, where parts begin)
    for _ in range(parts - 1):
        shorter = best
        best = {
            end: min(
                [
                    shorter[end],
                    *(
                        (shorter[cut][0] + (end - cut) * int(widths[end - 1]), [*shorter[cut][1], cut])
                        for cut in ends[:place]
                    ),
                ]
            )
            for place, end in enumerate(ends)
        }
    return best[count][1][1:]


def rounded(count: Any, step: int) -> Any:
    """The next multiple of `step`, of a number or of each in an array."""
    return -(-count // step) * step


def ngram_buckets(form: str, buckets: int, ngram_max: int) -> np.ndarray:
    """Bucket numbers (CRC-32 modulo `buckets`) of the word itself and of its character n-grams `[ngrams]`."""
    marked = f"<{form}>"
    grams = {f"={form}"}
    for size in range(1, ngram_max + 1):
        grams.update(marked[start : start + size] for start in range(len(marked) - size + 1))
    grams -= {"<", ">"}
    return np.array(sorted(zlib.crc32(gram.encode()) % buckets for gram in grams), dtype=np.int64)
