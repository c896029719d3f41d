"""Comparing variants: means with intervals, and the paired difference to `unified` with a verdict.

A bootstrap over seeds and queries (Efron, 1979): the seeds of both sides are drawn again together, and in every
language the queries, the same for both sides. What few seeds make too narrow is widened by √(seeds / (seeds - 1)).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from unimr.evaluation import nlu
from unimr.evaluation.intervals import LEVEL, Statistic, resampled_means
from unimr.evaluation.measure import NLU
from unimr.evaluation.retrieval import MEASURES, FloatArray
from unimr.evaluation.tasks import PICTURE_TASKS
from unimr.study.result import Result
from unimr.study.variants import ALL, COMPOSED, UNIFIED

ERROR_RATE = 0.05
"""Chance that any verdict of the study is wrong where nothing differs (Holm, 1979, over all its comparisons)."""

Verdict = Literal["better", "worse", "not shown"]


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """One measure of one variant.

    Attributes:
        name: the variant or peer.
        measure: `<task>.<measure>`.
        score: mean over seeds and languages.
        by_seed: the score of each seed.
        queries: how many it rests on.
        difference: to the base, as a rule `unified`, on the same queries; None of the base itself.
        p: chance of a difference as large where there is none.
        verdict: of the variant against the base; "" of the base itself.
    """

    name: str
    measure: str
    score: Estimate
    by_seed: tuple[float, ...]
    queries: int
    difference: Estimate | None = None
    p: float = 1.0
    verdict: Verdict | Literal[""] = ""

    def to_json(self) -> dict[str, Any]:
        """Rounded numbers for `metrics/study.json`."""
        found: dict[str, Any] = {
            "mean": round(self.score.value, 4),
            "low": round(self.score.low, 4),
            "high": round(self.score.high, 4),
            "seeds": [round(value, 4) for value in self.by_seed],
            "n": self.queries,
        }
        if self.difference:
            found["difference"] = {key: round(value, 4) for key, value in vars(self.difference).items()}
            found |= {"p": float(f"{self.p:.2g}"), "verdict": self.verdict}
        return found


def measures_of(task: str) -> dict[str, Statistic]:
    """The leading measures of a task: name → how it follows from the mean columns of its values."""
    if task == NLU:
        return {name: nlu.MEASURES[name] for name in ("intent_accuracy", "slot_f1")}
    name = "recall_at_10" if task.startswith(PICTURE_TASKS) or task in COMPOSED else "mrr"
    column = MEASURES.index(name)
    return {name: lambda means: means[..., column]}


def compare_all(results: dict[str, list[Result]], samples: int, base: str = UNIFIED) -> list[Comparison]:
    """Every measure of every variant and peer; verdicts are corrected for their number.

    Args:
        results: name → its results, a seed each.
        samples: bootstrap draws.
        base: the one that all others are compared with.
    """
    found = []
    for name, runs in results.items():
        for task in (task for task in ALL[name].tasks if task in runs[0].values):
            found += _compare(name, task, runs, results[base] if name != base else [], samples)
    return with_verdicts(found)


def _compare(name: str, task: str, runs: list[Result], base: list[Result], samples: int) -> list[Comparison]:
    """The measures of a task; where `base` has results, with the differences to them."""
    languages = runs[0].languages[task]
    ours = np.stack([run.values[task] for run in runs])  # [seeds, queries, columns]
    found = []
    for measure, statistic in measures_of(task).items():
        seed = [zlib.crc32(f"{task}.{measure}".encode())]
        value, drawn = bootstrap(ours, languages, statistic, samples, np.random.default_rng(seed))
        comparison = Comparison(
            name, f"{task}.{measure}", estimate(value, drawn), _by_seed(ours, languages, statistic), len(languages)
        )
        if base:
            theirs = np.stack([_rows_of(run, task, set(languages)) for run in base])
            before, drawn_before = bootstrap(theirs, languages, statistic, samples, np.random.default_rng(seed))
            difference, change = value - before, drawn - drawn_before
            comparison = replace(comparison, difference=estimate(difference, change), p=p_value(difference, change))
        found.append(comparison)
    return found


def _rows_of(run: Result, task: str, languages: set[str]) -> FloatArray:
    """What a run reached in the languages that a peer was asked in."""
    return run.values[task][np.isin(run.languages[task], sorted(languages))]


def bootstrap(
    values: FloatArray, languages: Sequence[str], statistic: Statistic, samples: int, rng: np.random.Generator
) -> tuple[float, FloatArray]:
    """The mean over seeds and languages of a measure, and `samples` draws of it `[samples]`.

    The same generator draws the same seeds and queries again, so that the draws of two variants are pairs.

    Args:
        values: `[seeds, queries, columns]`.
        languages: of each query.
        statistic: from the mean columns of a seed and language to the measure.
        samples: how many draws.
        rng: draws seeds and queries.
    """
    seeds, _, columns = values.shape
    tags = np.asarray(languages)
    present = sorted(set(languages))
    of_language = [values[:, tags == tag] for tag in present]  # [seeds, queries, columns] each
    value = float(np.mean([statistic(part.mean(axis=1)) for part in of_language]))
    # One draw of seeds, wherever it is asked for: peers of one seed are compared with many of `unified`.
    times = np.random.default_rng(0).multinomial(seeds, np.full(seeds, 1 / seeds), size=samples) / seeds
    drawn = np.zeros(samples)
    for part in of_language:
        queries = part.shape[1]
        means = resampled_means(part.transpose(1, 0, 2).reshape(queries, seeds * columns), samples, rng)
        drawn += (statistic(means.reshape(samples, seeds, columns)) * times).sum(axis=1) / len(present)
    return value, value + (drawn - value) * widening(seeds)


def widening(seeds: int) -> float:
    """By how much draws from so few seeds are too narrow; 1 where a single seed says nothing of others."""
    return math.sqrt(seeds / (seeds - 1)) if seeds > 1 else 1.0


def estimate(value: float, drawn: FloatArray) -> Estimate:
    """A value with the percentile interval of its draws."""
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(value, float(low), float(high))


def p_value(difference: float, drawn: FloatArray) -> float:
    """Two-sided, from a normal of the draws' spread; 1 where nothing differs."""
    spread = float(np.std(drawn))
    if spread == 0:
        return 0.0 if difference else 1.0
    return math.erfc(abs(difference) / spread / math.sqrt(2))


def with_verdicts(comparisons: list[Comparison]) -> list[Comparison]:
    """Say of each difference whether it is shown, so that all verdicts together err at `ERROR_RATE` (Holm, 1979)."""
    compared = sorted((each.p, place) for place, each in enumerate(comparisons) if each.difference)
    shown = set()
    for rank, (p, place) in enumerate(compared):
        if p > ERROR_RATE / (len(compared) - rank):
            break
        shown.add(place)
    return [_judged(each, place in shown) for place, each in enumerate(comparisons)]


def _judged(each: Comparison, shown: bool) -> Comparison:
    if each.difference is None:
        return each
    verdict: Verdict = "not shown" if not shown else "better" if each.difference.value > 0 else "worse"
    return replace(each, verdict=verdict)


def _by_seed(values: FloatArray, languages: Sequence[str], statistic: Statistic) -> tuple[float, ...]:
    tags = np.asarray(languages)
    scores = [statistic(values[:, tags == tag].mean(axis=1)) for tag in sorted(set(languages))]
    return tuple(float(score) for score in np.mean(scores, axis=0))
