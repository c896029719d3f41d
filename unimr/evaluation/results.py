"""The headline of the committed metrics as Markdown: where the figures of the README come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unimr.evaluation.targets import targets
from unimr.files import read_json

BASELINES = ("tfidf", "bm25", "random", "picture_alone", "words_alone")


def results_table(root: Path) -> str:
    """A row a measure: value, 95 % interval, number of queries, baselines, aim; below it what the table leaves out.

    Raises:
        UnimrError: nothing was evaluated yet.
    """
    metrics: dict[str, Any] = read_json(root / "metrics" / "evaluation.json")
    lines = ["| measure | score | 95 % interval | n | baselines | aim |", "|---|---:|---|---:|---|---:|"]
    lines += [_row(target, metrics) for target in targets()]
    return "\n".join(lines + _beside(metrics))


def _beside(metrics: dict[str, Any]) -> list[str]:
    lines = []
    if untrained := metrics.get("untrained_name_to_name"):
        scores = ", ".join(f"{lang} {mrr:.2f}" for lang, mrr in untrained["mrr_by_language"].items())
        lines += ["", f"Never-trained languages, MRR of a name against the English names: {scores}."]
    if same := metrics.get("keyword_to_item_same_language"):
        lines += ["", f"Keywords against names in their own language: MRR {same['mrr']:.3f}."]
    names = metrics.get("name_to_name", {})
    for key in sorted(key for key in names if key.startswith("leading_")):
        dim = key.removeprefix("leading_")
        lines += ["", f"With only the first {dim} dimensions: MRR {names[key]['mrr']:.3f} on pairs never seen."]
    return lines


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
