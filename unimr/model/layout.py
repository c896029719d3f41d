"""Where the words of a batch lie: one after the other for what looks at words, side by side for what looks at texts.

Texts differ in length. Padded to the longest of those they come with, half of a batch of names and keywords was
padding, and the time of a training step went there. So word vectors lie one after the other, text after text, and only
attention and pooling, which need the words of a text side by side, pad them, in parts of like length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

TOKENS_STEP, WORDS_STEP, CUTS, PARTS = 4, 256, 8, 3
"""Training batches come in few shapes: texts are padded to a multiple of `TOKENS_STEP` words, all words of a batch to a
multiple of `WORDS_STEP`, and a batch is cut at one of `CUTS` places into at most `PARTS`. On a CPU the kernels of every
new shape are compiled first, which took a third of the time of a step.
"""


@dataclass(frozen=True)
class Layout:
    """The words of a batch, one after the other, and how they lie side by side.

    Attributes:
        lengths: number of words of each text `[batch]`.
        bounds: where parts of like length begin and end, from 0 to the number of texts `[parts + 1]`.
        widths: words of the longest text of each part, or a few more `[parts]`.
        places: which word stands where in which text; 0 where there is none `[batch, tokens]`.
        mask: True where there is a word `[batch, tokens]`.
        positions: where each word stands in the padded parts, laid end to end; 0 for filling `[words]`.
        first, last: whether a word begins or ends a text `[words]`.
    """

    lengths: np.ndarray
    bounds: tuple[int, ...]
    widths: tuple[int, ...]
    places: torch.Tensor
    mask: torch.Tensor
    positions: torch.Tensor
    first: torch.Tensor
    last: torch.Tensor

    @classmethod
    def of(cls, lengths: np.ndarray, cuts: Sequence[int] = (), few_shapes: bool = False, tokens: int = 0) -> Layout:
        """Lay out texts of so many words each.

        Args:
            lengths: number of words of each text, none 0 `[batch]`.
            cuts: the texts that begin a further part.
            few_shapes: fill up to one of few shapes, for training.
            tokens: width of `places` and `mask`, where it shall be more than that of the widest part.
        """
        bounds = (0, *cuts, len(lengths))
        widths = tuple(rounded(int(lengths[a:b].max()), TOKENS_STEP if few_shapes else 1) for a, b in pairwise(bounds))
        starts, count = lengths.cumsum() - lengths, int(lengths.sum())
        column = np.arange(max(tokens, *widths))
        mask = column < lengths[:, None]
        places = np.where(mask, starts[:, None] + column, 0)
        padded = np.repeat(widths, np.diff(bounds))  # words of each text, with padding
        first, last, positions = _of_words(starts, lengths, padded, rounded(count, WORDS_STEP if few_shapes else 1))
        return cls(lengths, bounds, widths, *map(torch.from_numpy, (places, mask, positions, first, last)))

    def __len__(self) -> int:
        """Number of texts."""
        return len(self.lengths)

    def to(self, device: torch.device) -> Layout:
        """The same layout on a device."""
        moved = (value.to(device) for value in (self.places, self.mask, self.positions, self.first, self.last))
        return Layout(self.lengths, self.bounds, self.widths, *moved)

    def rows(self, own: slice) -> Layout:
        """The layout of some of the texts, one after the other; as many tokens wide as the whole."""
        start, stop, _ = own.indices(len(self))
        cuts = [cut - start for cut in self.bounds if start < cut < stop]
        return Layout.of(self.lengths[own], cuts, tokens=self.mask.shape[1])

    def padded(self, values: torch.Tensor) -> torch.Tensor:
        """Values of words `[words, ...]`, text by text `[batch, tokens, ...]`; arbitrary where there is no word."""
        return _rows_of(values, self.places)

    def parts(self, *values: torch.Tensor) -> list[tuple[torch.Tensor, ...]]:
        """Of every part its mask `[texts, tokens]`, and values of words `[words, ...]` as `[texts, tokens, ...]`."""
        found = []
        for (start, stop), width in zip(pairwise(self.bounds), self.widths, strict=True):
            places = self.places[start:stop, :width]
            found.append((self.mask[start:stop, :width], *(_rows_of(value, places) for value in values)))
        return found

    def joined(self, parts: Sequence[torch.Tensor]) -> torch.Tensor:
        """Values of words in parts, each `[texts, tokens, ...]`, one after the other `[words, ...]`."""
        return _rows_of(torch.cat([part.flatten(0, 1) for part in parts]), self.positions)


def _of_words(
    starts: np.ndarray, lengths: np.ndarray, padded: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For every word whether it begins a text, whether it ends one, and its place among padded texts `[size]`."""
    count = int(lengths.sum())
    first, last, positions = np.zeros(size, bool), np.zeros(size, bool), np.zeros(size, np.int64)
    first[starts], last[starts + lengths - 1] = True, True
    positions[:count] = np.repeat(padded.cumsum() - padded - starts, lengths) + np.arange(count)
    return first, last, positions


def _rows_of(values: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """`values[places]`, for values of one or more dimensions."""
    # Not by [...]: the gradient of that adds up in whatever order the threads come, and no two runs are the same.
    found = F.embedding(places, values if values.ndim == 2 else values.reshape(len(values), -1))
    return found.view(*places.shape, *values.shape[1:])


def by_length(texts: Sequence[np.ndarray]) -> tuple[np.ndarray, list[int]]:
    """Places of texts sorted by their number of words, and where to cut them into parts with little padding."""
    lengths = np.array([len(text) for text in texts])
    order = np.argsort(lengths, kind="stable")
    return order, _least_padding(rounded(lengths[order], TOKENS_STEP), PARTS)


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
