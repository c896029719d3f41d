"""Evidently's part of the report: its own presets on the same samples, and our verdict as metrics of its dashboards.

This is the only file that knows Evidently. The verdict is ours: Evidently's embedding drift alarms without drift, and
its column drift has a threshold, not an error rate (docs/monitoring.md has both on the same windows).
"""

from __future__ import annotations

import os

os.environ.setdefault("DO_NOT_TRACK", "1")  # before the import: nothing may be sent anywhere

import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.core.metric_types import SingleValue, SingleValueCalculation, SingleValueMetric
from evidently.core.report import Context, Snapshot
from evidently.legacy.metrics.data_drift.embedding_drift_methods import mmd, model, ratio
from evidently.presets import DataDriftPreset
from evidently.tests import gt
from evidently.ui.workspace import Workspace

from unimr.monitoring.drift import Comparison
from unimr.monitoring.outcome import Watch
from unimr.monitoring.traffic import Traffic

PROJECT = "unimr traffic"
NUMBERS = ("confidence", "similarity", "margin", "zero_results", "unknown_words", "unknown_ngrams")
CATEGORIES = ("lang", "intent", "answered_with")


class PermutationTest(SingleValueMetric):  # type: ignore[misc]
    """The p-value of one of our comparisons, such as the permutation MMD of the embeddings."""

    measure: str
    p: float


class PermutationTestCalculation(SingleValueCalculation[PermutationTest]):  # type: ignore[misc]
    """Hands over what the session permutations gave; found by Evidently through its type parameter."""

    def calculate(self, context: Context, current_data: Dataset, reference_data: Dataset | None) -> SingleValue:  # noqa: ARG002
        """The p-value."""
        return self.result(self.metric.p)

    def display_name(self) -> str:
        """The measure."""
        return f"p of {self.metric.measure}"


def make_report(seen: Watch) -> Snapshot:
    """Run Evidently on the samples of a look.

    Raises:
        ValueError: nothing was compared.
    """
    if seen.samples is None:
        raise ValueError("nothing was compared")
    overall = [row for row in seen.comparisons if not row.lang]
    level = threshold(overall, seen.alpha / 2)
    ours = [PermutationTest(measure=row.label, p=row.p, tests=[gt(level)]) for row in overall]
    reference, window = (dataset(traffic) for traffic in seen.samples)
    return Report([*ours, *presets()], include_tests=True).run(
        window, reference, timestamp=datetime.fromisoformat(seen.checked), name=seen.verdict
    )


def presets() -> list[Any]:
    """Evidently's own look at the columns, with its own thresholds."""
    return [DataDriftPreset(columns=[*NUMBERS, *CATEGORIES])]


def threshold(rows: list[Comparison], alpha: float) -> float:
    """The p-value at or below which Holm's method rejected."""
    return max((row.p for row in rows if row.alarm), default=alpha / max(1, len(rows)))


def dataset(traffic: Traffic) -> Dataset:
    """The columns of traffic that Evidently looks at."""
    frame: pd.DataFrame = traffic.rows[[*NUMBERS, *CATEGORIES]].astype(dict.fromkeys(NUMBERS, float))
    definition = DataDefinition(numerical_columns=list(NUMBERS), categorical_columns=list(CATEGORIES))
    return Dataset.from_pandas(frame, definition)


def detail_page(report: Snapshot) -> str:
    """The report as a page that carries everything it shows."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "evidently.html"
        report.save_html(str(path))
        return path.read_text(encoding="utf-8")


def add_to_workspace(report: Snapshot, folder: Path) -> None:
    """Add a run to the workspace that `make monitor-ui` opens."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    workspace = Workspace.create(str(folder))
    found = workspace.search_project(PROJECT)
    project = found[0] if found else workspace.create_project(PROJECT, "Windows of the query log against the reference")
    workspace.add_run(project.id, report)


def preset_alarms(reference: Traffic, window: Traffic) -> dict[str, bool]:
    """What Evidently's presets say of two samples: by column drift, and by its methods for embeddings.

    The methods are asked directly: the metric around them draws t-SNE for half a minute.

    Raises:
        ValueError: there are no embeddings.
    """
    if reference.vectors is None or window.vectors is None:
        raise ValueError("this traffic has no embeddings")
    found = Report(presets()).run(dataset(window), dataset(reference)).dict()["metrics"]
    drifted = next(each["value"] for each in found if each["metric_name"].startswith("DriftedColumnsCount"))
    said = {"any column": drifted["count"] > 0, "half of the columns": drifted["share"] >= 0.5}
    frames = [pd.DataFrame(traffic.vectors) for traffic in (window, reference)]
    for name, method in {
        "MMD": mmd(),
        "MMD, bootstrap": mmd(bootstrap=True),
        "model": model(),
        "ratio": ratio(),
    }.items():
        said[f"embeddings, {name}"] = bool(method(*frames)[1])
    return said
