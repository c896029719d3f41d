"""The page of the study: one HTML file that carries everything it shows, readable offline."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unimr.files import write_text
from unimr.pages import page_template
from unimr.params import Params
from unimr.study.answers import Answer, readable
from unimr.study.compare import ERROR_RATE, Comparison
from unimr.study.variants import ALL, UNIFIED

PLOTS = {"differences.png": "Differences to unified", "scores.png": "Scores"}


@dataclass(frozen=True)
class Study:
    """What a study found.

    Attributes:
        comparisons: every measure of every variant and peer, with `unified`.
        together: the separate models and the peers, with `unified_long`.
        baselines: measure → name → value, of methods without a model.
        saved: see `unimr.study.saving.saving`.
        spent: name → mean CPU seconds of a run.
        budget: what a run may spend, in samples weighted by their cost.
    """

    comparisons: Sequence[Comparison]
    together: Sequence[Comparison]
    baselines: dict[str, dict[str, float]]
    saved: dict[str, dict[str, float]]
    spent: dict[str, float]
    budget: float

    @property
    def measures(self) -> list[str]:
        """All measures, in the order of the page."""
        return list(dict.fromkeys(each.measure for each in self.comparisons))

    @property
    def names(self) -> list[str]:
        """All variants and peers."""
        return list(dict.fromkeys(each.name for each in self.comparisons))

    def find(self, name: str, measure: str) -> Comparison | None:
        """One comparison; None where the variant cannot be asked for the measure."""
        return next((each for each in self.comparisons if (each.name, each.measure) == (name, measure)), None)

    def to_json(self, said: Sequence[Answer], params: Params) -> dict[str, Any]:
        """`metrics/study.json`."""
        scores = {
            name: {each.measure: each.to_json() for each in self.comparisons if each.name == name}
            for name in self.names
        }
        together = {f"{each.name} {each.measure}": each.to_json() for each in self.together if each.difference}
        saved = {name: {key: _short(value) for key, value in row.items()} for name, row in self.saved.items()}
        return {
            "answers": {each.question: each.sentence for each in said},
            "scores": scores,
            "against_unified_long": together,
            "baselines": self.baselines,
            "saved": saved,
            "cpu_seconds": self.spent,
            "budget": round(self.budget),
            "profile": params.profile,
            "comparisons": sum(each.difference is not None for each in self.comparisons),
        }


def write_page(folder: Path, study: Study, said: Sequence[Answer], params: Params) -> None:
    """Write `index.html`; the plots are read from the same folder and put into it."""
    plots = {label: base64.b64encode((folder / name).read_bytes()).decode() for name, label in PLOTS.items()}
    page = page_template("unimr.study", "study.html").render(
        study=study,
        answers=said,
        plots=plots,
        params=params,
        labels={name: variant.label for name, variant in ALL.items()},
        readable=readable,
        unified=UNIFIED,
        error_rate=ERROR_RATE,
        seeds=max(len(each.by_seed) for each in study.comparisons),
    )
    write_text(folder / "index.html", page)


def _short(value: float) -> float:
    return round(value, 4) if abs(value) < 1000 else round(value)
