"""Metrics of query understanding: intent accuracy, span-exact slots, exact match, confusion.

A predicted slot is right only when its start, its end and its label are all right (as in CoNLL-2003). Precision,
recall and F1 are micro-averaged over the slots of a language; 0 / 0 counts as 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unimr.evaluation.intervals import Statistic
from unimr.evaluation.retrieval import FloatArray


@dataclass(frozen=True)
class Frame:
    """What an utterance means: its intent and its slots as (start, end, label) in characters."""

    intent: str
    slots: frozenset[tuple[int, int, str]]


def utterance_values(actual: Sequence[Frame], predicted: Sequence[Frame]) -> FloatArray:
    """Counts of each utterance: `[utterances, 5]`.

    The columns: intent right, everything right, slots right, slots predicted, slots there.

    Raises:
        ValueError: the two differ in length.
    """
    rows = [
        (
            truth.intent == guess.intent,
            truth == guess,
            len(truth.slots & guess.slots),
            len(guess.slots),
            len(truth.slots),
        )
        for truth, guess in zip(actual, predicted, strict=True)
    ]
    return np.array(rows, dtype=np.float64).reshape(-1, 5)


def _ratio(part: FloatArray, whole: FloatArray) -> FloatArray:
    return np.divide(part, whole, out=np.zeros_like(part, dtype=np.float64), where=whole > 0)


MEASURES: dict[str, Statistic] = {
    "intent_accuracy": lambda means: means[..., 0],
    "slot_f1": lambda means: _ratio(2 * means[..., 2], means[..., 3] + means[..., 4]),
    "slot_precision": lambda means: _ratio(means[..., 2], means[..., 3]),
    "slot_recall": lambda means: _ratio(means[..., 2], means[..., 4]),
    "exact_match": lambda means: means[..., 1],
}
"""Measure → how it follows from the mean columns of `utterance_values`, `[..., 5]` → `[...]`."""


def confusion_matrix(actual: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> NDArray[np.int64]:
    """Counts `[labels, labels]`: row = the actual intent, column = the predicted one."""
    place = {label: number for number, label in enumerate(labels)}
    matrix = np.zeros((len(labels), len(labels)), dtype=np.int64)
    np.add.at(matrix, ([place[label] for label in actual], [place[label] for label in predicted]), 1)
    return matrix
