"""Whether a window of traffic differs from the reference, measure by measure and language by language.

The chance that a window without drift raises any alarm is at most `alpha`. Half of it is spent on the measures of all
traffic, half on those of single languages; within each half by Holm's method, which holds however the measures depend
on each other (they do: a new topic moves embeddings and scores alike). A limit on the share of false alarms among
alarms (Benjamini-Hochberg) would not do: here one alarm is enough to start a retraining.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from unimr.monitoring.permutation import Divided, MeanDifference, Mmd, ShareDifference, holm, p_values
from unimr.monitoring.traffic import Traffic
from unimr.params import DriftParams
from unimr.search.query import MIN_CONFIDENCE

Verdict = Literal["drift", "quiet", "unsure"]
WEAK_QUANTILE = 0.05
"""An answer whose nearest row is among the farthest 5 % of both samples is weak."""
OVERALL = ""
CALIBRATION = Path("metrics/drift_calibration.json")
"""What `unimr calibrate` counted."""


@dataclass(frozen=True)
class Measure:
    """Something that is compared: `kind` says how, `of` gives its value a query."""

    name: str
    label: str
    kind: Literal["mean", "rate", "shares", "mmd"]
    of: Callable[[pd.DataFrame], np.ndarray]
    by_language: bool = True


def _column(name: str) -> Callable[[pd.DataFrame], np.ndarray]:
    def column(rows: pd.DataFrame) -> np.ndarray:
        return np.asarray(rows[name])

    return column


def _weak(rows: pd.DataFrame) -> np.ndarray:
    values = np.asarray(rows["similarity"], float)
    if not np.isfinite(values).any():
        return values
    return np.where(np.isfinite(values), values < np.nanquantile(values, WEAK_QUANTILE), np.nan)


def _low_confidence(rows: pd.DataFrame) -> np.ndarray:
    return np.asarray(rows["confidence"], float) < MIN_CONFIDENCE


MEASURES = (
    Measure("embeddings", "what is asked for (MMD of the embeddings)", "mmd", _column("session")),
    Measure("answered_with", "category of the first result", "shares", _column("answered_with")),
    Measure("unknown_words", "words of the subject that the index lacks", "rate", _column("unknown_words")),
    Measure("unknown_ngrams", "letter sequences that the index lacks", "rate", _column("unknown_ngrams")),
    Measure("similarity", "similarity of the first result", "mean", _column("similarity")),
    Measure("margin", "margin of the first result", "mean", _column("margin")),
    Measure("weak", "weak answers", "rate", _weak),
    Measure("zero_results", "queries without results", "rate", _column("zero_results")),
    Measure("low_confidence", "queries whose intent is unsure", "rate", _low_confidence),
    Measure("intents", "intents", "shares", _column("intent")),
    Measure("languages", "languages", "shares", _column("lang"), by_language=False),
)
OF_TEXT = ("embeddings", "unknown_words", "unknown_ngrams")
"""Measures that need the texts."""


@dataclass(frozen=True)
class Comparison:
    """One measure, of all traffic (`lang` is empty) or of one language; `kind` is that of the measure.

    `reference` and `window` are the means (None for MMD and shares), `statistic` is what was compared with its
    permutations, `alarm` whether it counts after the correction for the number of comparisons.
    """

    measure: str
    label: str
    kind: str
    lang: str
    reference: float | None
    window: float | None
    statistic: float
    p: float
    alarm: bool = False


@dataclass(frozen=True)
class Comparisons:
    """All comparisons of a window, and the languages that were too few to be compared alone."""

    rows: list[Comparison]
    left_out: list[str]

    @property
    def alarms(self) -> list[Comparison]:
        """Those that count, the clearest first."""
        return sorted((row for row in self.rows if row.alarm), key=lambda row: (row.p, row.lang != OVERALL))


def compare(params: DriftParams, reference: Traffic, window: Traffic) -> Comparisons:
    """Compare a window with the reference; both must be large enough, see `too_small`."""
    overall = _compare(params, reference, window, OVERALL)
    of_language, left_out = [], []
    for lang in sorted({*reference.rows["lang"], *window.rows["lang"]}):
        sides = [side.where((side.rows["lang"] == lang).to_numpy()) for side in (reference, window)]
        if any(len(side) < params.min_queries_of_language or side.sessions < params.min_sessions for side in sides):
            left_out.append(lang)
        else:
            of_language += _compare(params, sides[0], sides[1], lang)
    rows = [*_decided(overall, params.alpha / 2), *_decided(of_language, params.alpha / 2)]
    return Comparisons(rows, left_out)


def too_small(params: DriftParams, traffic: Traffic) -> str:
    """Why traffic is too little to be compared; empty where it is enough."""
    if len(traffic) < params.min_queries:
        return f"{len(traffic):,} queries, {params.min_queries:,} are needed (monitor.drift.min_queries)"
    if traffic.sessions < params.min_sessions:
        return f"{traffic.sessions:,} sessions, {params.min_sessions:,} are needed (monitor.drift.min_sessions)"
    return ""


def _decided(rows: list[Comparison], alpha: float) -> list[Comparison]:
    alarms = holm([row.p for row in rows], alpha)
    return [Comparison(**{**vars(row), "alarm": alarm}) for row, alarm in zip(rows, alarms, strict=True)]


def _compare(params: DriftParams, reference: Traffic, window: Traffic, lang: str) -> list[Comparison]:
    rows = pd.concat([reference.rows, window.rows], ignore_index=True)
    divided = Divided.of(reference.rows["session"].tolist(), window.rows["session"].tolist())
    measures = [measure for measure in MEASURES if measure.by_language or not lang]
    if reference.vectors is None or window.vectors is None:
        measures = [measure for measure in measures if measure.name not in OF_TEXT]
    values = [measure.of(rows) for measure in measures]
    statistics: list[MeanDifference | ShareDifference | Mmd] = []
    for measure, column in zip(measures, values, strict=True):
        if measure.kind == "mmd":
            statistics.append(Mmd(divided, np.concatenate([_vectors(reference), _vectors(window)])))
        elif measure.kind == "shares":
            statistics.append(ShareDifference(divided, column.tolist()))
        else:
            statistics.append(MeanDifference(divided, column.astype(float)))
    seen, p = p_values(divided, statistics, params.permutations, params.seed, clear=params.alpha)
    return [
        Comparison(
            measure.name,
            measure.label,
            measure.kind,
            lang,
            *_means(measure, column, len(reference)),
            float(one),
            float(each),
        )
        for measure, column, one, each in zip(measures, values, seen, p, strict=True)
    ]  # fmt: skip


def _means(measure: Measure, values: np.ndarray, of_reference: int) -> tuple[float | None, float | None]:
    if measure.kind not in ("mean", "rate"):
        return None, None
    sides = (values[:of_reference].astype(float), values[of_reference:].astype(float))
    means = [float(np.nanmean(side)) if np.isfinite(side).any() else None for side in sides]
    return means[0], means[1]


def _vectors(traffic: Traffic) -> np.ndarray:
    if traffic.vectors is None:
        raise ValueError("this traffic has no embeddings")
    return traffic.vectors


def separability(reference: Traffic, window: Traffic, seed: int) -> tuple[float, np.ndarray]:
    """How well a classifier tells the two apart by their embeddings: the effect size, and where to look.

    Logistic regression in five folds by session.

    Returns:
        The AUC over held-out folds (0.5: not at all, 1: always), and for each query of the window how sure the
        classifier that has not seen it is that it is of the window `[queries]`.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

    vectors = np.concatenate([_vectors(reference), _vectors(window)])
    labels = np.repeat([0, 1], [len(reference), len(window)])
    groups = Divided.of(reference.rows["session"].tolist(), window.rows["session"].tolist()).code
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
    model = LogisticRegression(C=10.0, max_iter=300, class_weight="balanced")
    sure = cross_val_predict(model, vectors, labels, groups=groups, cv=folds, method="predict_proba")[:, 1]
    return float(roc_auc_score(labels, sure)), sure[len(reference) :]
