"""The evaluation report: one HTML page that carries everything it shows, readable offline and in print."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unimr.evaluation.headline import HeadlineRow
from unimr.evaluation.intervals import Score
from unimr.evaluation.measure import Evaluation, TaskResult
from unimr.evaluation.nlu import confusion_matrix
from unimr.evaluation.plots import BASELINE_LOOKS, language_rows
from unimr.evaluation.scoring import WorstQuery
from unimr.evaluation.tasks import GALLERY_LANGUAGE, Tables
from unimr.files import write_text
from unimr.pages import page_template

UNTRAINED_TASK = "untrained_name_to_name"

_MIME = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"RIFF": "image/webp"}


@dataclass(frozen=True)
class Facts:
    """What the report says besides the scores.

    Attributes:
        profile: the profile that the model was trained with.
        retained: measure → before, after, change; see `headline.retained`.
        margin: how much of what the earlier stages could do the last one may lose.
        size: `parameters` and `megabytes`.
        latency: milliseconds, see `latency.encoding_latency`.
    """

    profile: str
    retained: dict[str, dict[str, float]]
    margin: float
    size: dict[str, float]
    latency: dict[str, float]


@dataclass(frozen=True)
class Shown:
    """An item as the page shows it: its English name (or its id) and its picture as a data URI (or nothing)."""

    name: str
    picture: str


def write_report(
    path: Path,
    evaluation: Evaluation,
    rows: list[HeadlineRow],
    worst: dict[str, list[WorstQuery]],
    tables: Tables,
    facts: Facts,
) -> None:
    """Write the page to `path`; every text of the data is escaped."""
    untrained = evaluation.tasks.get(UNTRAINED_TASK)
    page = page_template("unimr.evaluation", "report.html").render(
        rows=rows,
        baselines={name: looks[0] for name, looks in BASELINE_LOOKS.items()},
        languages=_language_blocks(evaluation),
        untrained=_untrained_rows(untrained) if untrained else [],
        tasks=evaluation.tasks,
        metrics=evaluation.metrics(),
        worst=worst,
        items=_shown_items(worst, tables),
        confusion=_confusion(evaluation),
        facts=facts,
    )
    write_text(path, page)


def data_uri(picture: bytes) -> str:
    """A PNG, JPEG or WebP picture as a data URI; "" for anything else."""
    kinds = [mime for magic, mime in _MIME.items() if picture.startswith(magic)]
    return f"data:{kinds[0]};base64,{base64.b64encode(picture).decode()}" if kinds else ""


def _language_blocks(evaluation: Evaluation) -> dict[str, dict[str, Score]]:
    blocks: dict[str, dict[str, Score]] = {}
    for name, lang, score in language_rows(evaluation):
        blocks.setdefault(name, {})[lang] = score
    return blocks


def _untrained_rows(result: TaskResult) -> list[dict[str, Any]]:
    summaries = result.summaries
    return [
        {"lang": lang, "mrr": score, "recall_at_10": summaries["recall_at_10"].languages[lang]}
        for lang, score in sorted(summaries["mrr"].languages.items(), key=lambda pair: -pair[1].value)
    ]


def _shown_items(worst: dict[str, list[WorstQuery]], tables: Tables) -> dict[str, Shown]:
    wanted = {item for queries in worst.values() for query in queries for item in (query.expected, *query.got)}
    texts = tables.texts[tables.texts["item_id"].isin(wanted) & (tables.texts["role"] == "name")]
    english = texts[texts["lang"] == GALLERY_LANGUAGE]
    names = dict(zip(english["item_id"], english["text"], strict=True))
    images = tables.images[tables.images["item_id"].isin(wanted)].sort_values("style", ascending=False)
    pictures = dict(zip(images["item_id"], images["image"], strict=True))  # of several styles the first by name stays
    return {item: Shown(names.get(item, item), data_uri(pictures.get(item, b""))) for item in wanted}


def _confusion(evaluation: Evaluation) -> dict[str, Any] | None:
    if evaluation.nlu is None:
        return None
    labels = sorted({*evaluation.nlu.actual, *evaluation.nlu.predicted})
    counts = confusion_matrix(evaluation.nlu.actual, evaluation.nlu.predicted, labels)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return {"labels": labels, "counts": counts.tolist(), "shares": shares.tolist()}
