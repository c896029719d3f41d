"""What a stage can do when it ends, and the gate that refuses a stage 3 that unlearned it."""

from __future__ import annotations

from pathlib import Path

from unimr.errors import UnimrError
from unimr.evaluation.measure import Options, evaluate_model
from unimr.evaluation.tasks import Tables
from unimr.files import read_json
from unimr.model.retriever import UnifiedRetriever

LIMIT_PER_LANGUAGE = 300
"""Queries and utterances a language: enough for the gate, a second of work."""


def measure_text(model: UnifiedRetriever, tables: Path) -> dict[str, float]:
    """MRR of names in unseen (item, language) pairs; empty if the tables hold no such queries."""
    options = Options(limit_per_language=LIMIT_PER_LANGUAGE, only=("name_to_name",))
    found = evaluate_model(model, Tables.load(tables), options)
    return {"name_to_name_mrr": found["name_to_name"]["mrr"]} if "name_to_name" in found else {}


def measure_nlu(model: UnifiedRetriever, tables: Path) -> dict[str, float]:
    """Intent accuracy and slot F1 on unseen phrasings; empty if the tables hold no test utterances."""
    found = evaluate_model(model, Tables.load(tables), Options(limit_per_language=LIMIT_PER_LANGUAGE, only=("nlu",)))
    return {name: found["nlu"][name] for name in ("intent_accuracy", "slot_f1")} if "nlu" in found else {}


def check_retained(models: Path, after: dict[str, float], margin: float) -> None:
    """Compare stage 3 with what stages 1 and 2 reached.

    Raises:
        UnimrError: a measure fell by more than the margin.
    """
    before = read_json(models / "train_text" / "metrics.json") | read_json(models / "train_nlu" / "metrics.json")
    lost = [
        f"{name} fell from {before[name]:.3f} to {after[name]:.3f}"
        for name in sorted(before)
        if after[name] < before[name] - margin
    ]
    if lost:
        raise UnimrError(
            f"Joint training unlearned what the earlier stages could do: {'; '.join(lost)} (more than "
            f"train_joint.regression_margin = {margin}). The model was not saved. Lower "
            "train_joint.learning_rate, raise train_joint.nlu_weight, or train longer."
        )
