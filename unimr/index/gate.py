"""Champion against challenger: whether a newly built version may take the place of the published one.

The published version (the champion) keeps the figures of its model. Where both models were measured on the tables as
they are now, and by the same code, these figures are compared. Where not, figures of two different tests would say
nothing about each other: both models are measured anew, on a part of the queries.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unimr.errors import UnimrError
from unimr.evaluation.measure import Options, evaluate_model, measured_on
from unimr.evaluation.scoring import Retriever
from unimr.evaluation.targets import targets
from unimr.evaluation.tasks import Tables
from unimr.files import read_json
from unimr.index.embed import TABLES
from unimr.index.publish import history, verify_version, versions_folder, withdrawn
from unimr.params import GateParams

METRICS = Path("metrics/evaluation.json")
EVALUATION = "evaluation.json"
"""The figures of its model in the folder of a version."""


@dataclass(frozen=True)
class Compared:
    """A measure of both models; `tolerance` is how far the challenger may lie below the champion."""

    measure: str
    champion: float
    challenger: float
    tolerance: float

    @property
    def worse(self) -> bool:
        """Whether the challenger lies further below than the tolerance (figures have four digits)."""
        return round(self.champion - self.challenger, 4) > self.tolerance

    def __str__(self) -> str:
        return f"{self.measure} fell from {self.champion:.3f} to {self.challenger:.3f} (tolerance {self.tolerance})"


@dataclass(frozen=True)
class Verdict:
    """Whether the challenger may be published, and why.

    Attributes:
        champion: the version that is live; None where there is none.
        compared: what could be compared.
        notes: how it was compared, and what could not be.
        withdrawn: whether a person withdrew this version, or another one with its model.
    """

    champion: str | None
    compared: list[Compared] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    withdrawn: bool = False

    @property
    def passed(self) -> bool:
        """Whether it may be published."""
        return not self.reasons

    @property
    def reasons(self) -> list[str]:
        """Why it must not be published; empty if it may."""
        if self.withdrawn:
            return ["this version or one with its model was withdrawn by a rollback"]
        return [str(each) for each in self.compared if each.worse]

    def to_json(self) -> dict[str, Any]:
        """For `metrics/index.json`."""
        figures = {
            each.measure: {"champion": each.champion, "challenger": each.challenger, "tolerance": each.tolerance}
            for each in self.compared
        }
        return {"champion": self.champion, "measures": figures, "notes": self.notes, "reasons": self.reasons}


def judge(params: GateParams, root: Path, challenger: Path, load: Callable[[Path], Retriever]) -> Verdict:
    """Compare the version in the folder `challenger` with the live one.

    Args:
        params: the tolerances.
        root: the project folder, with the challenger's `metrics/evaluation.json`.
        challenger: a version that stands.
        load: gives the model in a folder.

    Raises:
        UnimrError: the figures of the challenger cannot be read.
    """
    published = history(root)
    if not published:
        return Verdict(None, notes=["nothing was published before"])
    live = versions_folder(root) / published[-1]
    if live == challenger:
        return Verdict(live.name, notes=["this version is live already"])
    model, on = verify_version(challenger)["model_version"], measured_on(root / TABLES)
    if challenger.name in withdrawn(root):
        return Verdict(live.name, withdrawn=True)
    after = _known(root / METRICS, model, on)
    try:
        champion = verify_version(live)["model_version"]
        if champion == model:
            return Verdict(live.name, notes=["the model is that of the published version"])
        if model in withdrawn(root).values():
            return Verdict(live.name, withdrawn=True)
        before = _known(live / EVALUATION, champion, on)
        anew = before is None or after is None
        if anew:
            before = _measure(params, root, load(live / "model"))
    except UnimrError as error:
        return Verdict(live.name, notes=[f"the published version can no longer be measured, and is replaced: {error}"])
    if anew:
        after = _measure(params, root, load(challenger / "model"))
    return _compare(params, live.name, before or {}, after or {}, anew)


def _known(path: Path, model_version: str, on: str) -> dict[str, Any] | None:
    """Figures in a file, if they are of this model and were measured on what models are measured on now."""
    if not path.exists():
        return None
    figures: dict[str, Any] = read_json(path)
    same = figures.get("measured_on") == on and figures.get("model", {}).get("version") == model_version
    return figures if same else None


def _measures() -> dict[str, tuple[str, str]]:
    """Measure as the gate names it → task and measure of the evaluation: those that the report begins with."""
    places = [target["measure"].split(".") for target in targets()]
    return {f"{task}_{measure}": (task, measure) for task, measure in places}


def _measure(params: GateParams, root: Path, model: Retriever) -> dict[str, Any]:
    tasks = {task for task, _ in _measures().values()}
    options = Options(limit_per_language=params.limit_per_language, only=tasks)
    return evaluate_model(model, Tables.load(root / TABLES), options)


def _compare(params: GateParams, champion: str, before: dict[str, Any], after: dict[str, Any], anew: bool) -> Verdict:
    part = f"{params.limit_per_language} queries a language and task"
    how = f"both models were measured anew, on {part}" if anew else "the models were measured on the same tables"
    verdict = Verdict(champion, notes=[how])
    tolerances = params.tolerance.model_dump()
    for name, (task, measure) in _measures().items():
        then, now = before.get(task, {}).get(measure), after.get(task, {}).get(measure)
        if then is None or now is None:
            verdict.notes.append(f"{name} was not compared: there are no queries for it")
        else:
            verdict.compared.append(Compared(name, then, now, tolerances[name]))
    return verdict
