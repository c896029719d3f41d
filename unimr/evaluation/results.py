"""The headline of the committed metrics as a Markdown table: where the figures of the README come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unimr.evaluation.targets import targets
from unimr.files import read_json

BASELINES = ("tfidf", "bm25", "random", "picture_alone", "words_alone")


def results_table(root: Path) -> str:
    """A row a measure: value, 95 % interval, number of queries, baselines, and what the project set out to reach.

    Raises:
        UnimrError: nothing was evaluated yet.
    """
    metrics: dict[str, Any] = read_json(root / "metrics" / "evaluation.json")
    lines = ["| measure | score | 95 % interval | n | baselines | aim |", "|---|---:|---|---:|---|---:|"]
    lines += [_row(target, metrics) for target in targets()]
    return "\n".join(lines)


def _row(target: dict[str, Any], metrics: dict[str, Any]) -> str:
    task, measure = target["measure"].split(".")
    found = metrics.get(task)
    if not found:
        return f"| {target['label']} | not measured | | | | |"
    baselines = ", ".join(f"{name.replace('_', ' ')} {found[name][measure]:.3f}" for name in BASELINES if name in found)
    interval = f"{found[measure + '_low']:.3f} – {found[measure + '_high']:.3f}"
    aim = f"≥ {target['reach']}" if "reach" in target else "both halves" if "beat" in target else ""
    name = f"{target['label']} ({measure.replace('_', ' ')})"
    return f"| {name} | **{found[measure]:.3f}** | {interval} | {found['n']:,} | {baselines} | {aim} |"
