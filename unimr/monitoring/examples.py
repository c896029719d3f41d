"""Queries that show what changed, with the pictures of what they were answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from unimr.data.text import normalise
from unimr.evaluation.report import data_uri
from unimr.index.catalogue import Catalogue
from unimr.monitoring.drift import Comparison
from unimr.monitoring.traffic import Traffic

GROUPS, QUERIES, RESULTS = 3, 6, 3
LOW = ("similarity", "margin")
"""Measures of which the low values are the odd ones."""


@dataclass(frozen=True)
class ShownResult:
    """A result by its name and its picture as a data URI (or nothing)."""

    name: str
    picture: str = field(repr=False)


@dataclass(frozen=True)
class ExampleQuery:
    """A query and its first results."""

    text: str
    lang: str
    results: list[ShownResult]


@dataclass(frozen=True)
class Examples:
    """Queries under a heading that says what they show."""

    title: str
    queries: list[ExampleQuery]

    def to_json(self) -> dict[str, Any]:
        """Without the pictures."""
        rows = [
            {"text": query.text, "lang": query.lang, "results": [result.name for result in query.results]}
            for query in self.queries
        ]
        return {"title": self.title, "queries": rows}


def example_queries(
    catalogue: Catalogue, alarms: Sequence[Comparison], reference: Traffic, window: Traffic, sure: np.ndarray
) -> list[Examples]:
    """For the clearest alarms the queries that raised them; without an alarm those most unlike the reference.

    Args:
        catalogue: of the live version.
        alarms: the comparisons that count.
        reference: what the window was compared with.
        window: the queries.
        sure: for each of them how sure a classifier is that it is of the window.
    """
    if window.vectors is None:
        return []
    groups = []
    for row in sorted(alarms, key=lambda alarm: (bool(alarm.lang), alarm.p))[:GROUPS]:
        title, odd = _oddness(row, reference, window, sure)
        if row.lang:
            title = f"{title} ({row.lang})"
            odd = np.where(window.rows["lang"] == row.lang, odd, -np.inf)
        groups.append(Examples(title, _shown(catalogue, window, odd)))
    return groups or [
        Examples("Most unlike the reference (nothing here is out of the ordinary)", _shown(catalogue, window, sure))
    ]


def _oddness(row: Comparison, reference: Traffic, window: Traffic, sure: np.ndarray) -> tuple[str, np.ndarray]:
    """A heading, and how much each query of the window shows it."""
    rows = window.rows
    if row.kind == "shares":
        column = {"languages": "lang", "intents": "intent"}.get(row.measure, row.measure)
        more = (
            rows[column]
            .value_counts(normalize=True)
            .sub(reference.rows[column].value_counts(normalize=True), fill_value=0)
        )
        name = str(more.idxmax())
        return f"{row.label.capitalize()}: more of {name}", (rows[column] == name).to_numpy(float) + sure / 2
    if row.kind == "mmd":
        return "Most unlike what was asked before", sure
    column = "similarity" if row.measure == "weak" else "confidence" if row.measure == "low_confidence" else row.measure
    values = np.nan_to_num(rows[column].to_numpy(float), nan=0.0)
    lower = row.measure in (*LOW, "weak", "low_confidence")
    return row.label.capitalize(), (-values if lower else values) + 1e-3 * sure


def _shown(catalogue: Catalogue, window: Traffic, odd: np.ndarray) -> list[ExampleQuery]:
    """The oddest queries, each text once."""
    found: dict[str, ExampleQuery] = {}
    for place in np.argsort(-odd, kind="stable"):
        row = window.rows.iloc[int(place)]
        if len(found) == QUERIES or odd[place] == -np.inf:
            break
        if normalise(row["text"]) not in found:
            items = [item for item in row["results"][:RESULTS] if item in catalogue.items]
            results = [ShownResult(catalogue.title(item, row["lang"]), _picture(catalogue, item)) for item in items]
            found[normalise(row["text"])] = ExampleQuery(row["text"], row["lang"], results)
    return list(found.values())


def _picture(catalogue: Catalogue, item: str) -> str:
    images = catalogue.images_of(item)
    return data_uri(catalogue.picture(images[0])) if images else ""
