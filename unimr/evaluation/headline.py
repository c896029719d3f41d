"""The headline: the measures of `targets.yaml`, each with what was reached and whether it is enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from unimr.evaluation.intervals import Score
from unimr.evaluation.measure import NLU, Evaluation
from unimr.evaluation.targets import targets

RETAINED = {
    "train_text": {"name_to_name_mrr": ("name_to_name", "mrr")},
    "train_nlu": {"intent_accuracy": (NLU, "intent_accuracy"), "slot_f1": (NLU, "slot_f1")},
}
"""Stage → what its `metrics.json` calls a measure → where that measure stands in the evaluation's metrics."""


@dataclass(frozen=True)
class HeadlineRow:
    """One line of the headline; `score` is None where the tables hold no queries for it.

    `verdict` is "met", "missed", "reported" (there is no target) or "not measured".
    """

    measure: str
    label: str
    score: Score | None
    baselines: dict[str, float]
    reach: float | None
    beat: tuple[str, ...]
    verdict: str


def headline(evaluation: Evaluation) -> list[HeadlineRow]:
    """The lines of the headline, in the order of `targets.yaml`."""
    return [_row(target, evaluation) for target in targets()]


def retained(metrics: dict[str, Any], before: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """What a stage could do when it ended, and what the final model can: measure → before, after, change.

    Args:
        metrics: numbers of the final model, as `Evaluation.metrics` gives them.
        before: stage → the numbers in its `metrics.json`.
    """
    rows = {}
    for stage, names in RETAINED.items():
        for name, (task, measure) in names.items():
            then, now = before.get(stage, {}).get(name), metrics.get(task, {}).get(measure)
            if then is not None and now is not None:
                rows[name] = {"before": round(then, 4), "after": now, "change": round(now - then, 4)}
    return rows


def _row(target: dict[str, Any], evaluation: Evaluation) -> HeadlineRow:
    task, _, measure = target["measure"].partition(".")
    score, baselines = None, {}
    if task == NLU and evaluation.nlu:
        score = evaluation.nlu.summaries[measure].macro
    elif task in evaluation.tasks:
        result = evaluation.tasks[task]
        score = result.summaries[measure].macro
        baselines = {name: means[measure] for name, means in result.baselines.items()}
    reach, beat = target.get("reach"), tuple(target.get("beat", ()))
    row = HeadlineRow(target["measure"], target["label"], score, baselines, reach, beat, "")
    return HeadlineRow(**{**vars(row), "verdict": _verdict(row)})


def _verdict(row: HeadlineRow) -> str:
    if row.score is None:
        return "not measured"
    floors = [row.baselines[name] for name in row.beat]
    if row.reach is None and not floors:
        return "reported"
    enough = row.reach is None or row.score.value >= row.reach
    return "met" if enough and all(row.score.value > floor for floor in floors) else "missed"
