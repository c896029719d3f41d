"""The drift report: one HTML page that carries everything it shows, readable offline, in dark and in light."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unimr.files import write_text
from unimr.monitoring.drift import Comparison
from unimr.monitoring.outcome import Watch, shown, small
from unimr.pages import page_template

HEADLINES = {"drift": "Act", "quiet": "Nothing to do", "unsure": "Not decided"}
CHARTED = {
    "similarity": "similarity of the first result",
    "unknown_words": "words of the subject that the index lacks",
    "zero_results": "queries without results",
    "low_confidence": "queries whose intent is unsure",
}
"""Measures whose history is drawn."""
SHARES = {"Languages": "lang", "Intents": "intent", "Category of the first result": "answered_with"}
WIDTH, HEIGHT = 300, 60
"""Of a chart, in its own units."""


def write_page(path: Path, seen: Watch, looks: list[dict[str, Any]], detail: str) -> None:
    """Write the page; every text of the log is escaped.

    Args:
        path: the file.
        seen: the look to report.
        looks: the figures of the last looks, this one last.
        detail: Evidently's page; empty where nothing was compared.
    """
    page = page_template("unimr.monitoring", "drift.html").render(
        seen=seen,
        headline=HEADLINES[seen.verdict],
        overall=[row for row in seen.comparisons if not row.lang],
        languages=_by_language(seen.comparisons),
        shares=_shares(seen),
        looks=looks,
        charts=[chart for chart in (_chart(name, label, looks) for name, label in CHARTED.items()) if chart],
        shown=shown,
        small=small,
        detail=detail,
    )
    write_text(path, page)


def _by_language(rows: list[Comparison]) -> dict[str, list[Comparison]]:
    found: dict[str, list[Comparison]] = {}
    for row in rows:
        if row.lang:
            found.setdefault(row.lang, []).append(row)
    return found


def _shares(seen: Watch) -> list[tuple[str, float, list[tuple[str, float, float]]]]:
    """Languages, intents, categories: title, largest share, and (name, share in the reference, in the window)."""
    if seen.samples is None:
        return []
    found = []
    for title, column in SHARES.items():
        before, now = (traffic.rows[column].value_counts(normalize=True) for traffic in seen.samples)
        rows = [
            (str(name) or "none", float(before.get(name, 0)), float(now.get(name, 0)))
            for name in {*before.index, *now.index}
        ]
        rows.sort(key=lambda row: -max(row[1:]))
        found.append((title, max(rows[0][1:]), rows))
    return found


def _chart(name: str, label: str, looks: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Points of a measure over the looks that have it, scaled to the chart."""
    values = [(look["window"][name], look["verdict"]) for look in looks if name in look["window"]]
    if not values:
        return None
    low, high = min(value for value, _ in values), max(value for value, _ in values)
    span = (high - low) or max(abs(high), 0.01)
    points = [
        {
            "x": round(WIDTH * (place + 0.5) / len(values), 1),
            "y": round(HEIGHT - 8 - (HEIGHT - 16) * (value - low) / span, 1),
            "verdict": verdict,
        }
        for place, (value, verdict) in enumerate(values)
    ]
    form = "{:.3f}" if name == "similarity" else "{:.1%}"
    last = form.format(values[-1][0])
    return {"label": label, "points": points, "last": last, "range": f"{form.format(low)} – {form.format(high)}"}
