"""Means with bootstrap intervals, per language and as the mean over languages.

Percentile bootstrap over queries (Efron, 1979): the queries of each language are drawn again with replacement, so
the interval of the mean over languages comes from draws within every language.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from unimr.evaluation.retrieval import FloatArray

LEVEL = 0.95
"""Share of the draws inside an interval."""

_DRAWN_AT_ONCE = 2**22

Statistic = Callable[[FloatArray], FloatArray]
"""Means `[..., columns]` → the measure `[...]`; a ratio such as F1 is taken after averaging."""


@dataclass(frozen=True)
class Score:
    """A measured value, its interval (NaN when nothing was drawn) and how many queries it rests on."""

    value: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Summary:
    """One measure: the mean over languages (each weighs the same) and the score of every language."""

    macro: Score
    languages: dict[str, Score]


def resampled_means(values: FloatArray, samples: int, rng: np.random.Generator) -> FloatArray:
    """Column means of `samples` draws with replacement from the rows: `[rows, columns]` → `[samples, columns]`."""
    rows = len(values)
    at_once = max(1, _DRAWN_AT_ONCE // rows)
    means = []
    for first in range(0, samples, at_once):
        count = min(at_once, samples - first)
        drawn = rng.integers(rows, size=(count, rows)) + np.arange(count)[:, None] * rows
        times = np.bincount(drawn.ravel(), minlength=count * rows).reshape(count, rows)
        means.append(times @ values / rows)
    return np.concatenate(means) if means else np.empty((0, values.shape[1]))


def summarise(
    values: FloatArray, languages: list[str], measures: Mapping[str, Statistic], samples: int, seed: list[int]
) -> dict[str, Summary]:
    """Every measure per language and as the mean over languages, with intervals from the same draws.

    Args:
        values: `[queries, columns]`, what each query adds.
        languages: the language of each query.
        measures: measure → its statistic over column means.
        samples: bootstrap draws; 0 leaves the intervals out (NaN).
        seed: seeds the draws; the same seed gives the same intervals.
    """
    rng = np.random.default_rng(seed)
    tags = np.asarray(languages)
    rows = {tag: values[tags == tag] for tag in sorted(set(languages))}
    means = {tag: part.mean(axis=0) for tag, part in rows.items()}
    draws = {tag: resampled_means(part, samples, rng) for tag, part in rows.items()}
    summaries = {}
    for name, statistic in measures.items():
        by_tag = {tag: statistic(means[tag]) for tag in rows}
        drawn = {tag: statistic(draws[tag]) for tag in rows}
        macro = _score(np.mean(list(by_tag.values())), np.mean(list(drawn.values()), axis=0), len(values))
        summaries[name] = Summary(macro, {tag: _score(by_tag[tag], drawn[tag], len(rows[tag])) for tag in rows})
    return summaries


def _score(value: FloatArray | np.floating, drawn: FloatArray, count: int) -> Score:
    if not drawn.size:
        return Score(float(value), float("nan"), float("nan"), count)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Score(float(value), float(low), float(high), count)
