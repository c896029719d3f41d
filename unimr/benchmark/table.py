"""What was measured, as tables for people (Markdown) and as JSON."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

from unimr.benchmark.measure import NLU, Row
from unimr.data.published.records import BadRecord, Dataset
from unimr.evaluation.intervals import Score

DIGITS = 4
BAD_SHOWN = 20
"""Bad records that the Markdown lists; the JSON has all."""

TITLES = {
    "text_to_image": "caption → photograph",
    "image_to_text": "photograph → caption",
    "caption_to_english": "caption → English caption",
    "sentence_to_english": "sentence → English sentence",
    "english_to_sentence": "English sentence → sentence",
    "document_to_english": "document → English document",
    "english_to_document": "English document → document",
    "question_to_paragraph": "question → paragraph, same language",
    "question_to_english_paragraph": "question → English paragraph",
    "english_question_to_paragraph": "English question → paragraph",
    "nlu": "query understanding",
}

COLUMNS = {
    "recall_at_1": "R@1",
    "recall_at_5": "R@5",
    "recall_at_10": "R@10",
    "mrr": "MRR",
    "intent_accuracy": "intent",
    "slot_f1": "slot F1",
    "exact_match": "exact match",
}
"""Measure → head of its column; measures that are not named here are in the JSON alone."""


def to_json(rows: Iterable[Row], data: Dataset, notes: dict[str, Any]) -> dict[str, Any]:
    """All rows, what was read and left out, and the notes (model, split, …)."""
    return {
        **notes,
        "rows": [
            {**{key: value for key, value in vars(row).items() if key != "scores"}, **_numbers(row.scores)}
            for row in rows
        ],
        "read": data.counts,
        "left_out": [vars(record) for record in data.bad],
    }


def _numbers(scores: dict[str, Score]) -> dict[str, float]:
    numbers = {}
    for name, score in scores.items():
        numbers[name] = round(score.value, DIGITS)
        if not math.isnan(score.low):
            numbers |= {f"{name}_low": round(score.low, DIGITS), f"{name}_high": round(score.high, DIGITS)}
    return numbers


def markdown(rows: Sequence[Row], data: Dataset, notes: dict[str, Any]) -> str:
    """A table a task, a line a language; intervals in brackets."""
    head = [f"# Published data sets, split {notes['split']}", "", _introduction(notes)]
    tables = [
        line
        for key, group in groupby(rows, key=lambda row: (row.collection, row.task, row.subset))
        for line in _table(key, list(group), notes)
    ]
    return "\n".join([*head, *tables, *_coverage(data)]) + "\n"


def _introduction(notes: dict[str, Any]) -> str:
    return (
        f"Model {notes['model']}; trained languages: {', '.join(sorted(notes['trained']))}. In brackets: 95 % "
        "bootstrap intervals. Means weigh every language the same."
    )


def _table(key: tuple[str, str, str], rows: list[Row], notes: dict[str, Any]) -> Iterable[str]:
    collection, task, subset = key
    measures = [name for name in COLUMNS if name in rows[0].scores]
    searched = any(row.gallery for row in rows)
    counts = ["queries", *(["gallery"] if searched else []), *(["left out"] if any(r.left_out for r in rows) else [])]
    yield from ("", f"## {collection}{f' ({subset})' if subset else ''}: {TITLES[task]}", "")
    known = notes.get("known_labels", {}).get(collection)
    if task == NLU and known:
        (intents, of_intents), (slots, of_slots) = known["intents"], known["slots"]
        yield f"The model knows {intents} of {of_intents} intents and {slots} of {of_slots} slot labels."
        yield ""
    yield f"| language | trained | {' | '.join([*counts, *(COLUMNS[name] for name in measures)])} |"
    yield "|---|---|" + "---:|" * (len(counts) + len(measures))
    for row in rows:
        values = {"queries": row.queries, "gallery": row.gallery, "left out": row.left_out}
        cells = [f"{values[name]:,}" for name in counts] + [_cell(row.scores[name]) for name in measures]
        yield f"| {row.lang} | {'yes' if row.trained else 'no'} | {' | '.join(cells)} |"


def _cell(score: Score) -> str:
    interval = "" if math.isnan(score.low) else f" ({score.low:.3f}-{score.high:.3f})"
    return f"{score.value:.3f}{interval}"


def _coverage(data: Dataset) -> Iterable[str]:
    bad = Counter(record.source for record in data.bad)
    yield from ("", "## What was read", "", "| source | records | left out |", "|---|---:|---:|")
    for source in [*data.counts, *(name for name in bad if name not in data.counts)]:
        yield f"| {source} | {data.counts.get(source, 0):,} | {bad[source]:,} |"
    if data.bad:
        yield from ("", "Left out, and why:", "")
        yield from (f"- {_said(record)}" for record in data.bad[:BAD_SHOWN])
        if len(data.bad) > BAD_SHOWN:
            yield f"- … and {len(data.bad) - BAD_SHOWN:,} more, in scores.json"


def _said(record: BadRecord) -> str:
    line = f", line {record.line}" if record.line else ""
    return f"{record.file}{line}: {record.reason}"
