"""Plots of an evaluation: CSV for `dvc plots`, PNG to look at."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unimr.evaluation.headline import HeadlineRow
from unimr.evaluation.intervals import Score
from unimr.evaluation.measure import NLU, Evaluation
from unimr.evaluation.nlu import confusion_matrix
from unimr.files import atomic_file, write_text

BLUE, INK, FAINT = "#2f6db5", "#1d2733", "#d9dee5"
BASELINE_LOOKS = {
    "tfidf": ("TF-IDF", "#c2571a", "s"),
    "bm25": ("BM25", "#8a5fb0", "D"),
    "random": ("random", "#7b8794", "o"),
    "picture_alone": ("picture alone", "#1f8a70", "^"),
    "words_alone": ("words alone", "#b03a6b", "v"),
}
"""Baseline → its label, colour and marker."""

STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#9aa5b1",
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "savefig.dpi": 130,
}
"""How every plot of the project looks."""


def language_rows(evaluation: Evaluation) -> list[tuple[str, str, Score]]:
    """(task and measure, language, score) of the leading measure of every task, and of the two of NLU."""
    found = [
        (f"{name}.{result.task.measure}", result.summaries[result.task.measure])
        for name, result in evaluation.tasks.items()
    ]
    if evaluation.nlu:
        found += [(f"{NLU}.{name}", evaluation.nlu.summaries[name]) for name in ("intent_accuracy", "slot_f1")]
    return [(name, lang, score) for name, summary in found for lang, score in summary.languages.items()]


def write_csv(folder: Path, evaluation: Evaluation, headline: Sequence[HeadlineRow]) -> None:
    """Write the tables of the plots to a folder.

    `headline.csv` (measure, value), `languages.csv` (task, lang, value, low, high), `nlu_confusion.csv` (actual,
    predicted).
    """
    values = [(row.measure, f"{row.score.value:.4f}") for row in headline if row.score]
    write_text(folder / "headline.csv", _csv(("measure", "value"), values))
    rows = [
        (name, lang, *(f"{number:.4f}" for number in (score.value, score.low, score.high)))
        for name, lang, score in language_rows(evaluation)
    ]
    write_text(folder / "languages.csv", _csv(("task", "lang", "value", "low", "high"), rows))
    pairs: Iterable[Sequence[str]] = ()
    if evaluation.nlu:
        pairs = zip(evaluation.nlu.actual, evaluation.nlu.predicted, strict=True)
    write_text(folder / "nlu_confusion.csv", _csv(("actual", "predicted"), pairs))


def write_png(folder: Path, evaluation: Evaluation, rows: Sequence[HeadlineRow]) -> None:
    """Write `headline.png`, `languages.png` and, where there are utterances, `nlu_confusion.png` to a folder."""
    with mpl.rc_context(STYLE):
        save_figure(_headline_figure([row for row in rows if row.score]), folder / "headline.png")
        save_figure(_languages_figure(language_rows(evaluation)), folder / "languages.png")
        if evaluation.nlu:
            save_figure(
                _confusion_figure(evaluation.nlu.actual, evaluation.nlu.predicted), folder / "nlu_confusion.png"
            )


def _csv(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG atomically; the same figure gives the same bytes."""
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})


def _headline_figure(rows: Sequence[HeadlineRow]) -> Figure:
    figure = Figure(figsize=(9, 1.3 + 0.5 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for place, row in enumerate(rows):
        if row.score is None:
            continue
        axes.barh(place, row.score.value, height=0.55, color=BLUE, xerr=_whiskers([row.score]), ecolor=INK, capsize=2.5)
        for name, value in row.baselines.items():
            _, colour, marker = BASELINE_LOOKS[name]
            axes.plot(value, place, marker, color=colour, markersize=6, markeredgecolor="white", zorder=4)
        if row.reach is not None:
            axes.plot([row.reach] * 2, [place - 0.38, place + 0.38], color="#d0021b", linewidth=2, zorder=5)
        axes.text(1.02, place, f"{row.score.value:.3f}", va="center", transform=axes.get_yaxis_transform())
    axes.set_yticks(range(len(rows)), [f"{row.label}\n{_unit(row.measure)}, n = {_count(row.score)}" for row in rows])
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    set_grid(axes, "x")
    _legend(figure, axes, {name for row in rows for name in row.baselines})
    return figure


def _legend(figure: Figure, axes: Axes, baselines: set[str]) -> None:
    handles: list[Any] = [axes.bar(0, 0, color=BLUE, label="this model, 95 % interval")]
    handles += axes.plot([], [], color="#d0021b", linewidth=2, label="target")
    for name, (label, colour, marker) in BASELINE_LOOKS.items():
        if name in baselines:
            handles += axes.plot([], [], marker, color=colour, label=label)
    figure.legend(handles=handles, loc="outside upper center", ncols=4, frameon=False)


def _languages_figure(rows: Sequence[tuple[str, str, Score]]) -> Figure:
    names = list(dict.fromkeys(name for name, _, _ in rows))
    lines = max(1, -(-len(names) // 3))
    figure = Figure(figsize=(12, 2.5 * lines))
    figure.set_layout_engine("constrained", hspace=0.06, wspace=0.04)
    grid = figure.subplots(lines, 3, squeeze=False)
    for axes, name in zip(grid.flat, names, strict=False):
        scores = {lang: score for task, lang, score in rows if task == name}
        values = [score.value for score in scores.values()]
        axes.bar(
            list(scores), values, color=BLUE, width=0.7, yerr=_whiskers(list(scores.values())), ecolor=INK, capsize=2
        )
        axes.axhline(float(np.mean(values)), color="#c2571a", linewidth=1, linestyle="--")
        task, _, measure = name.partition(".")
        title = f"{task.replace('_', ' ')}\n{_unit(measure)}, mean {np.mean(values):.3f}"
        axes.set_title(title, loc="left", fontsize=9, fontweight="bold")
        axes.set_ylim(0, 1)
        set_grid(axes, "y")
    for axes in list(grid.flat)[len(names) :]:
        axes.set_axis_off()
    return figure


def _confusion_figure(actual: Sequence[str], predicted: Sequence[str]) -> Figure:
    labels = sorted({*actual, *predicted})
    matrix = confusion_matrix(actual, predicted, labels)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    size = 2.2 + 0.75 * len(labels)
    figure = Figure(figsize=(size + 0.8, size), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(matrix.shape):
        colour = "white" if shares[row, column] > 0.55 else INK
        text = f"{matrix[row, column]}\n{shares[row, column]:.1%}" if matrix[row, column] else "0"
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(range(len(labels)), labels, rotation=30, ha="right")
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlabel("predicted intent")
    axes.set_ylabel("actual intent")
    axes.spines[:].set_visible(False)
    return figure


def _whiskers(scores: Sequence[Score]) -> list[list[float]]:
    below = [max(0.0, score.value - score.low) for score in scores]
    return [below, [max(0.0, score.high - score.value) for score in scores]]


def set_grid(axes: Axes, axis: Literal["x", "y"]) -> None:
    """Faint lines behind the marks, across one axis."""
    axes.set_axisbelow(True)
    axes.grid(visible=True, axis=axis, color=FAINT, linewidth=0.7)


def _unit(measure: str) -> str:
    name = measure.rpartition(".")[2]
    return {"mrr": "MRR", "recall_at_10": "recall@10", "slot_f1": "slot F1"}.get(name, name.replace("_", " "))


def _count(score: Score | None) -> str:
    return f"{score.count:,}" if score else "0"
