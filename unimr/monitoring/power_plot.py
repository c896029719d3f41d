"""The power curve as a picture: how often a change is found, by its share and by the size of the window."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from unimr.files import atomic_file

INK, FAINT = "#1d2733", "#d9dee5"
COLOURS = ("#8fb8e8", "#2f6db5", "#123a6b")
_STYLE: dict[Any, Any] = {
    "font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#9aa5b1",
    "axes.labelcolor": INK, "text.color": INK, "xtick.color": INK, "ytick.color": INK, "savefig.dpi": 130,
}  # fmt: skip


def write_power_plot(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Draw rows of `scenario, share, queries, trials, found` to a PNG file."""
    scenarios = list(dict.fromkeys(row["scenario"] for row in rows))
    sizes = sorted({row["queries"] for row in rows})
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(2.7 * len(scenarios), 2.9), layout="constrained")
        for axes, scenario in zip(
            figure.subplots(1, len(scenarios), sharey=True, squeeze=False)[0], scenarios, strict=True
        ):
            for colour, size in zip(COLOURS, sizes, strict=False):
                chosen = [row for row in rows if (row["scenario"], row["queries"]) == (scenario, size)]
                shares = [100 * row["share"] for row in chosen]
                axes.plot(
                    shares, [100 * row["found"] / row["trials"] for row in chosen], "o-", color=colour, label=size
                )
            axes.set_title(scenario.replace("-", " "), loc="left", fontweight="bold")
            axes.set_xscale("log")
            ticks = sorted({100 * row["share"] for row in rows})
            axes.set_xticks(ticks, [f"{tick:g} %" for tick in ticks], minor=False)
            axes.minorticks_off()
            axes.set_xlabel("share of queries that are new")
            axes.set_ylim(-3, 103)
            axes.grid(visible=True, color=FAINT, linewidth=0.7)
            axes.set_axisbelow(True)
        figure.axes[0].set_ylabel("windows that alarm, %")
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(
            handles, [f"{label} queries" for label in labels], loc="outside upper center", ncols=3, frameon=False
        )
        with atomic_file(path) as temporary:
            figure.savefig(temporary, format="png", metadata={"Software": None})
