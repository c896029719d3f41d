"""What a run of the pipeline shows in Prefect: training progress, figures, reports, and a picture of the results."""

from __future__ import annotations

import base64
import io
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import httpx
from PIL import Image
from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact, create_progress_artifact, update_progress_artifact

from unimr.evaluation.targets import targets
from unimr.files import read_json
from unimr.index.publish import PUBLISHED, history, versions_folder

PROGRESS = re.compile(r"^(\w+) .* step (\d+)/(\d+) ")
"""A line of `unimr.training.progress`."""
SHEET_WIDTH = 880
"""Pixels; the picture is part of the artifact, and so of the server's database."""
REPORTS = {"validation": "Validation of the tables", "evaluation": "Evaluation of the model"}
"""Folder in `reports/` → title; other reports have the name of their folder."""


class TrainingProgress:
    """Turns the lines that training logs into a progress artifact, named like the stage.

    A server that stays away costs the artifact, not the training.
    """

    def __init__(self) -> None:
        self._artifact: UUID | None = None
        self._lost = False

    def __call__(self, line: str) -> None:
        """Take in one line of the output of a stage."""
        found = PROGRESS.match(line)
        if not found or self._lost:
            return
        try:
            self._show(found[1], 100 * int(found[2]) / int(found[3]), line)
        except httpx.TransportError as error:
            get_run_logger().warning("Progress is shown no more, since the server does not answer: %s", error)
            self._lost = True

    def _show(self, stage: str, percent: float, line: str) -> None:
        if self._artifact is None:
            self._artifact = cast(UUID, create_progress_artifact(percent, stage.replace("_", "-"), line))
        else:
            update_progress_artifact(self._artifact, percent, line)


@dataclass(frozen=True)
class Published:
    """The live version and the figures of its model; both empty where nothing is published."""

    version: str
    figures: dict[str, Any]

    @classmethod
    def read(cls, root: Path) -> Published:
        """What is live now."""
        version = next(reversed(history(root)), "")
        path = versions_folder(root) / version / "evaluation.json"
        return cls(version, read_json(path) if version and path.exists() else {})


def show_figures(root: Path, before: Published, said: str) -> None:
    """The artifact `metrics`: what the run came to, and the headline beside that of the model published before it."""
    create_markdown_artifact(figures(root, before), key="metrics", description=said)


def figures(root: Path, before: Published) -> str:
    """Markdown: a row a measure, with the difference to the model that was published before the run.

    Where the gate compared the two models, its figures are shown. Figures that were measured on other tables are not
    set beside each other.
    """
    now = read_json(root / "metrics" / "evaluation.json")
    index = root / "metrics" / "index.json"
    gate: dict[str, Any] = read_json(index)["gate"] if index.exists() else {"champion": ""}
    if gate["champion"] != (before.version or None):  # it spoke in an earlier run
        gate = {"measures": {}, "notes": []}
    same = before.figures.get("measured_on") == now.get("measured_on")
    rows = []
    for target in targets():
        task, measure = target["measure"].split(".")
        name = f"{task}_{measure}"
        pair = gate["measures"].get(name) or {
            "challenger": now.get(task, {}).get(measure),
            "champion": before.figures.get(task, {}).get(measure) if same else None,
        }
        rows.append(_row(name, **pair))
    notes = [*gate["notes"], f"published before this run: {before.version or 'nothing'}"]
    head = ["| measure | this model | before | change | tolerance |", "|---|---:|---:|---:|---:|"]
    return "\n".join([*head, *rows, "", *(f"- {note}" for note in notes)])


def _row(name: str, challenger: float | None, champion: float | None, tolerance: float | None = None) -> str:
    if challenger is None:
        return f"| {name} | not measured | | | |"
    change = f"{challenger - champion:+.3f}" if champion is not None else ""
    if champion is not None and tolerance is not None and round(champion - challenger, 4) > tolerance:
        change = f"**{change}**"
    cells = [
        f"{challenger:.3f}",
        "" if champion is None else f"{champion:.3f}",
        change,
        "" if tolerance is None else str(tolerance),
    ]
    return f"| {name} | {' | '.join(cells)} |"


def show_reports(root: Path) -> None:
    """The artifact `reports`: where the pages are, on the machine that ran the flow."""
    pages = sorted(path.resolve() for path in (root / "reports").glob("*/index.html"))
    if pages:
        rows = [f"| {REPORTS.get(page.parent.name, page.parent.name)} | [{page}]({page.as_uri()}) |" for page in pages]
        hint = "No browser follows a link from a server to a file: copy the address into its address bar."
        create_markdown_artifact("\n".join(["| report | file |", "|---|---|", *rows, "", hint]), key="reports")


def show_sheet(root: Path, version: str) -> None:
    """The artifact `result-sheet`: a picture of what a version answers to a query of the test."""
    query = sample_query(root)
    picture = base64.b64encode(sheet(root, version, query)).decode()
    text = f"Version {version} answers “{query}”:\n\n![results](data:image/jpeg;base64,{picture})"
    create_markdown_artifact(text, key="result-sheet", description=f"{version}: {query}")


def sample_query(root: Path) -> str:
    """A test query: an English sentence where there is one, else any sentence, else any text."""
    from unimr.data.tables import read_table

    queries = read_table(root / "data" / "validated", "queries", ["query_id", "task", "lang", "text"])
    order = queries.assign(word=queries["task"] != "intent_to_item", foreign=queries["lang"] != "en")
    return str(order.sort_values(["word", "foreign", "query_id"])["text"].iloc[0])


def sheet(root: Path, version: str, query: str) -> bytes:
    """The contact sheet of a query as JPEG."""
    from unimr.search.engine import SearchEngine, load_retriever
    from unimr.search.sheet import write_sheet

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sheet.png"
        with SearchEngine(versions_folder(root) / version, root / PUBLISHED / "open", load_retriever) as engine:
            write_sheet(engine.search(query), path)
        picture = Image.open(path).convert("RGB")
    picture.thumbnail((SHEET_WIDTH, 4 * SHEET_WIDTH))
    data = io.BytesIO()
    picture.save(data, format="JPEG", quality=85)
    return data.getvalue()
