"""`unimr evaluate`: read a folder of published data sets, measure a model on it, and write what was found."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from unimr.benchmark.measure import Options, measure
from unimr.benchmark.table import markdown, to_json
from unimr.data.published.records import Dataset
from unimr.data.published.sources import read_all
from unimr.errors import UnimrError
from unimr.files import read_json, write_json, write_text
from unimr.model.manifest import MANIFEST, model_version
from unimr.model.nlu import Labels
from unimr.model.retriever import UnifiedRetriever
from unimr.params import EvaluateParams

REPORT = Path("reports/published")


def evaluate_folder(
    model: Path, data: Path, split: str, trained: Collection[str], params: EvaluateParams, report: Path
) -> str:
    """Measure a saved model on a folder; writes `scores.json` and `scores.md` to `report` and returns the Markdown.

    Args:
        model: folder of the model.
        data: folder with any of the published formats.
        split: `dev` or `test`.
        trained: languages that the model was trained on, reported apart from the others; empty: those it names.
        params: bootstrap draws and their seed.
        report: folder to write to.

    Raises:
        UnimrError: the model or the folder is missing, the folder holds nothing that could be measured, or it is not
            known what the model was trained on.
    """
    retriever = UnifiedRetriever.load(model)
    trained = trained or _languages_of(model)
    found = read_all(data)
    rows = measure(retriever, found, Options(split, trained, params.bootstrap_samples, params.seed))
    notes = {
        "model": model_version(model),
        "split": split,
        "trained": sorted(trained),
        "known_labels": _known_labels(retriever.nlu.labels, found),
    }
    text = markdown(rows, found, notes)
    write_json(report / "scores.json", to_json(rows, found, notes))
    write_text(report / "scores.md", text)
    return text


def _languages_of(model: Path) -> list[str]:
    """What the manifest of a model, which was verified when it was loaded, says."""
    languages: list[str] = read_json(model / MANIFEST)["notes"].get("languages", [])
    if not languages:
        raise UnimrError(f"{model} does not say which languages it was trained on. Name them: --trained en,de")
    return languages


def _known_labels(labels: Labels, data: Dataset) -> dict[str, dict[str, list[int]]]:
    """Collection of utterances → how many of its intents and slot labels the model was trained on, of how many."""
    found: dict[str, dict[str, list[int]]] = {}
    for collection in sorted({row.collection for row in data.utterances}):
        rows = [row for row in data.utterances if row.collection == collection]
        intents, slots = {row.intent for row in rows}, {label for row in rows for _, _, label in row.slots}
        found[collection] = {
            "intents": [len(intents & {*labels.intents}), len(intents)],
            "slots": [len(slots & {*labels.slots}), len(slots)],
        }
    return found
