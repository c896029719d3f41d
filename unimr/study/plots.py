"""Plots of the study: CSV of every comparison, PNG to look at."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from unimr.evaluation.plots import BLUE, INK, STYLE, save_figure, set_grid
from unimr.files import write_text
from unimr.study.answers import readable
from unimr.study.compare import Comparison
from unimr.study.variants import UNIFIED

COLOURS = {"better": "#c2571a", "worse": BLUE, "not shown": "#9aa5b1"}
"""Verdict of a variant → colour: blue where `unified` is ahead."""
COLUMNS = ("name", "measure", "mean", "low", "high", "difference", "difference_low", "difference_high", "verdict")


def write_csv(path: Path, comparisons: Sequence[Comparison]) -> None:
    """Write a row a comparison; the differences are those of the variant to `unified`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for each in comparisons:
        numbers = [each.score.value, each.score.low, each.score.high]
        if each.difference:
            numbers += [each.difference.value, each.difference.low, each.difference.high]
        cells = [f"{number:.4f}" for number in numbers] + [""] * (6 - len(numbers))
        writer.writerow([each.name, each.measure, *cells, each.verdict])
    write_text(path, text.getvalue())


def write_png(folder: Path, comparisons: Sequence[Comparison]) -> None:
    """Write `scores.png` and `differences.png` to a folder."""
    with mpl.rc_context(STYLE):
        save_figure(_scores(comparisons), folder / "scores.png")
        save_figure(_differences(comparisons), folder / "differences.png")


def _scores(comparisons: Sequence[Comparison]) -> Figure:
    """A panel a measure: every variant's mean over seeds, its interval, and the single seeds."""
    measures = list(dict.fromkeys(each.measure for each in comparisons))
    figure, panels = _panels(measures, comparisons)
    for axes, measure in zip(panels, measures, strict=False):
        rows = [each for each in comparisons if each.measure == measure]
        for place, each in enumerate(rows):
            colour = INK if each.name == UNIFIED else COLOURS.get(each.verdict, INK)
            axes.plot([each.score.low, each.score.high], [place, place], color=colour, linewidth=2)
            axes.plot(each.by_seed, [place] * len(each.by_seed), "o", color=colour, markersize=3, alpha=0.5)
            axes.plot(each.score.value, place, "D", color=colour, markersize=5)
        _label(axes, measure, rows)
        axes.set_xlim(left=0)
    figure.supxlabel("mean over seeds with its 95 % interval; dots are seeds", fontsize=9)
    return figure


def _differences(comparisons: Sequence[Comparison]) -> Figure:
    """A panel a measure: the difference of every variant to `unified`."""
    compared = [each for each in comparisons if each.difference]
    measures = list(dict.fromkeys(each.measure for each in compared))
    figure, panels = _panels(measures, compared)
    for axes, measure in zip(panels, measures, strict=False):
        rows = [each for each in compared if each.measure == measure]
        for place, each in enumerate(rows):
            if each.difference:
                colour = COLOURS.get(each.verdict, INK)
                axes.plot([each.difference.low, each.difference.high], [place, place], color=colour, linewidth=2)
                axes.plot(each.difference.value, place, "D", color=colour, markersize=5)
        axes.axvline(0, color=INK, linewidth=0.8)
        _label(axes, measure, rows)
    words = "blue: the variant is worse, orange: better, grey: not shown"
    figure.supxlabel(f"difference to unified with its 95 % interval; {words}", fontsize=9)
    return figure


def _panels(measures: Sequence[str], rows: Sequence[Comparison]) -> tuple[Figure, list[Axes]]:
    lines = max(1, -(-len(measures) // 3))
    tallest = max((sum(row.measure == measure for row in rows) for measure in measures), default=1)
    figure = Figure(figsize=(13, 0.5 + lines * (0.9 + 0.2 * tallest)))
    figure.set_layout_engine("constrained", hspace=0.06, wspace=0.04)
    panels = list(figure.subplots(lines, 3, squeeze=False).flat)
    for axes in panels[len(measures) :]:
        axes.set_axis_off()
    return figure, panels


def _label(axes: Axes, measure: str, rows: Sequence[Comparison]) -> None:
    axes.set_title(readable(measure).replace(" (", "\n("), loc="left", fontsize=9, fontweight="bold")
    axes.set_yticks(range(len(rows)), [each.name.replace("_", " ") for each in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.locator_params(axis="x", nbins=5)  # small differences have long labels
    set_grid(axes, "x")
