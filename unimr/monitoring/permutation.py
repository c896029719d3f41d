"""Permutation tests of two samples of traffic whose unit is the session.

Queries of one session resemble each other, so that a single busy client can look like a change of everybody. A session
therefore counts once, by the mean of its queries, and what is exchanged between the two samples are whole sessions: if
both come from the same stream of sessions, every division of them is as likely as the one that was seen, and the
p-value is exact, whatever the sizes of the sessions. A permutation is a row of a matrix product.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

DIVISIONS_AT_A_TIME = 2_000
MEDIAN_ROWS = 1_000
"""Rows of which the median distance is taken."""


@dataclass(frozen=True)
class Divided:
    """Sessions of two samples.

    Attributes:
        code: number of the session of each query `[queries]`.
        current: whether a session is of the window, else of the reference `[sessions]`.
    """

    code: np.ndarray
    current: np.ndarray

    @classmethod
    def of(cls, reference: Sequence[str], window: Sequence[str]) -> Divided:
        """Of the session names of the queries of both; a name that is in both stands for two sessions."""
        names = [(False, name) for name in reference] + [(True, name) for name in window]
        number = {name: place for place, name in enumerate(dict.fromkeys(names))}
        return cls(np.array([number[name] for name in names], np.int64), np.array([name[0] for name in number], bool))

    def means(self, values: np.ndarray) -> np.ndarray:
        """Means by session: `[queries, columns]` → `[sessions, columns]`."""
        total = np.zeros((len(self.current), values.shape[1]))
        np.add.at(total, self.code, values)
        mean: np.ndarray = total / np.bincount(self.code, minlength=len(self.current))[:, None]
        return mean

    def divisions(self, count: int, seed: int) -> Iterator[np.ndarray]:
        """The division that was seen, then `count` random ones with as many sessions in the window, `[some, sessions]`.

        A one says that the session is in the window.
        """
        yield self.current[None].astype(np.float32)
        rng, wanted = np.random.default_rng(seed), int(self.current.sum())
        for start in range(0, count, DIVISIONS_AT_A_TIME):
            keys = rng.random((min(DIVISIONS_AT_A_TIME, count - start), len(self.current)), np.float32)
            chosen = np.argpartition(keys, wanted - 1, axis=1)[:, :wanted]
            drawn = np.zeros(keys.shape, np.float32)
            np.put_along_axis(drawn, chosen, 1, axis=1)
            yield drawn


class MeanDifference:
    """|mean in the window − mean in the reference| of a value a query; what is not finite is left out."""

    def __init__(self, divided: Divided, values: np.ndarray) -> None:
        known = np.isfinite(values)
        sums = divided.means(np.column_stack([np.where(known, values, 0), known]))
        has_any = sums[:, 1] > 0
        self._columns = np.column_stack([sums[:, 0] / np.where(has_any, sums[:, 1], 1), has_any]).astype(np.float32)

    def __call__(self, divisions: np.ndarray) -> np.ndarray:
        """The statistic of each division `[divisions, sessions]` → `[divisions]`."""
        inside = divisions @ self._columns
        outside = self._columns.sum(axis=0) - inside
        here, there = (side[:, 0] / np.maximum(side[:, 1], 1) for side in (inside, outside))
        return np.asarray(np.abs(here - there))


class ShareDifference:
    """The largest difference of the share of a category, each in units of its standard deviation.

    The largest, not a sum over all: a language that is new shows in one category, and the others would drown it.
    """

    def __init__(self, divided: Divided, categories: Sequence[str]) -> None:
        known = {name: place for place, name in enumerate(sorted(set(categories)))}
        shares = divided.means(np.eye(len(known))[[known[name] for name in categories]])
        distance = shares - shares.mean(axis=0)
        deviation = np.maximum(np.sqrt((distance**2).sum(axis=0)), 1e-9)
        self._distance = (distance / deviation).astype(np.float32)

    def __call__(self, divisions: np.ndarray) -> np.ndarray:
        """The statistic of each division `[divisions, sessions]` → `[divisions]`."""
        largest: np.ndarray = np.abs(divisions @ self._distance).max(axis=1)
        return largest


class Mmd:
    """Squared maximum mean discrepancy with an RBF kernel, the median distance its bandwidth.

    After Gretton et al. 2012, "A Kernel Two-Sample Test": the unbiased estimate, a session taking the part of a sample
    by the mean of its queries' kernels, so that a long one does not weigh by its likeness to itself.
    """

    def __init__(self, divided: Divided, vectors: np.ndarray) -> None:
        kernel = rbf_kernel(vectors.astype(np.float32))
        order = np.argsort(divided.code, kind="stable")
        starts = np.searchsorted(divided.code[order], np.arange(len(divided.current)))
        sizes = np.bincount(divided.code)
        rows = np.add.reduceat(kernel[order], starts, axis=0) / sizes[:, None]
        between = np.add.reduceat(rows[:, order], starts, axis=1) / sizes
        np.fill_diagonal(between, 0)
        self._between = between.astype(np.float32)

    def __call__(self, divisions: np.ndarray) -> np.ndarray:
        """The statistic of each division `[divisions, sessions]` → `[divisions]`."""
        towards = divisions @ self._between
        inside = np.einsum("ds,ds->d", towards, divisions).astype(np.float64)
        across = towards.sum(axis=1, dtype=np.float64) - inside
        outside = float(self._between.sum(dtype=np.float64)) - inside - 2 * across
        here = divisions.sum(axis=1, dtype=np.float64)
        there = divisions.shape[1] - here
        value: np.ndarray = inside / (here * (here - 1)) + outside / (there * (there - 1)) - 2 * across / (here * there)
        return value


def rbf_kernel(vectors: np.ndarray) -> np.ndarray:
    """Kernel of all pairs of rows `[rows, dim]` → `[rows, rows]`."""
    squares = (vectors**2).sum(axis=1)
    distances = np.maximum(squares[:, None] + squares[None] - 2 * vectors @ vectors.T, 0)
    step = max(1, len(vectors) // MEDIAN_ROWS)
    some = distances[::step, ::step]
    median = float(np.median(some[np.triu_indices(len(some), 1)]))
    kernel: np.ndarray = np.exp(-distances / (2 * (median or 1.0)))
    return kernel


def p_values(
    divided: Divided, statistics: Sequence[MeanDifference | ShareDifference | Mmd], count: int, seed: int, clear: float
) -> tuple[np.ndarray, np.ndarray]:
    """What was seen and its p-value, of each statistic, from the same permutations.

    The p-value is (1 + permutations with at least what was seen) / (1 + permutations), which is never too small
    (Phipson and Smyth 2010, "Permutation P-values Should Never Be Zero"). A statistic whose p-value after the first
    `DIVISIONS_AT_A_TIME` permutations is above `clear` keeps that one: it can withhold an alarm, never raise one.
    """
    divisions = divided.divisions(count, seed)
    true = next(divisions)
    seen = np.array([statistic(true)[0] for statistic in statistics])
    limits = seen - 1e-5 * np.maximum(1e-3, np.abs(seen))  # equal values may differ in the last digits
    reached, made = np.ones(len(statistics)), np.ones(len(statistics))
    open_ones = list(range(len(statistics)))
    for drawn in divisions:
        for place in open_ones:
            reached[place] += (statistics[place](drawn) >= limits[place]).sum()
            made[place] += len(drawn)
        open_ones = [place for place in open_ones if reached[place] / made[place] <= clear]
        if not open_ones:
            break
    return seen, reached / made


def holm(p: Sequence[float], alpha: float) -> list[bool]:
    """Which hypotheses are rejected so that the chance of a single false one is at most `alpha` (Holm 1979).

    It holds however the tests depend on each other.
    """
    rejected = [False] * len(p)
    for rank, place in enumerate(np.argsort(np.array(p, float), kind="stable")):
        if p[place] > alpha / (len(p) - rank):
            break
        rejected[place] = True
    return rejected
