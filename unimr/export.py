"""`unimr export`: the text half of a trained model as a SentenceTransformer folder, with a model card."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unimr.errors import UnimrError
from unimr.evaluation.results import results_table
from unimr.files import atomic_folder, read_json, write_json, write_text
from unimr.model.hf import hf_encoders
from unimr.model.manifest import TEXT_MODEL, model_version, verify_manifest
from unimr.model.retriever import TextModel
from unimr.model_params import HfTextParams
from unimr.params import Params

CARD = "README.md"
TYPE = "unimr.model.sentence.TextModule"
STAGES = ("train_image", "train_text", "train_nlu", "train_joint")


def export(params: Params, root: Path, model: Path, target: Path) -> None:
    """Write `target`: the files sentence-transformers asks for, the text half in `text_model/`, and the model card.

    Args:
        params: those of the project, for the card.
        root: the project folder.
        model: the folder of a trained model.
        target: the folder to write; it must be new or hold an earlier export.

    Raises:
        UnimrError: the model is missing or damaged, or `target` holds something else.
    """
    if target.exists() and not (target / "modules.json").exists():
        raise UnimrError(f"{target} exists and is no exported model. Give a folder that does not exist yet.")
    notes = verify_manifest(model)["notes"]
    text = TextModel.load(model)
    with atomic_folder(target) as folder:
        text.save(folder / TEXT_MODEL, notes, read_json(model / "metrics.json"))
        write_json(folder / "modules.json", [{"idx": 0, "name": "0", "path": TEXT_MODEL, "type": TYPE}])
        settings = {"model_type": "SentenceTransformer", "prompts": {}, "similarity_fn_name": "cosine"}
        write_json(folder / "config_sentence_transformers.json", settings)
        write_text(folder / CARD, model_card(params, root, model, text, notes))


def model_card(params: Params, root: Path, model: Path, text: TextModel, notes: dict[str, Any]) -> str:
    """What the model is, what it was made from, what it reaches and how to use it, as the hub shows it."""
    languages = params.prepare.languages
    front = ["---", "library_name: sentence-transformers", "pipeline_tag: sentence-similarity", "language:"]
    front += [f"- {lang}" for lang in languages] + ["tags:", "- unimr", "- sentence-similarity", "---"]
    sections = [
        _what(text, model),
        _use(text),
        _made_from(params, notes),
        _reaches(root, model),
        _licences(text),
    ]
    return "\n".join(front) + "\n\n" + "\n\n".join(sections) + "\n"


def _what(text: TextModel, model: Path) -> str:
    encoder = text.params.text
    kind = "words from hashed character n-grams, and transformer layers over them"
    if isinstance(encoder, HfTextParams):
        origin = encoder.name.rstrip("/").rpartition("/")[2] or "a configuration, from scratch"
        kind = f"a {_type(text)} encoder, begun from {origin}, {encoder.train} training"
    fusion = "whose features are fused into the embedding" if text.params.nlu.fusion else "beside the embedding"
    parameters = sum(parameter.numel() for parameter in text.parameters())
    return (
        f"# unimr text model {model_version(model)}\n\n"
        f"The text half of a unified retrieval model: {kind}, and an NLU module {fusion}. Its vectors have "
        f"{text.dim} dimensions, of which the first {min(text.params.matryoshka_dims)} work alone, and lie in one "
        f"space with those of the model's pictures, which are not in this folder. {parameters:,} parameters."
    )


def _type(text: TextModel) -> str:
    """What transformers calls the encoder's architecture."""
    return ", ".join(encoder.backbone.config.model_type for encoder in hf_encoders(text))


def _use(text: TextModel) -> str:
    return (
        "## Use\n\nThe class of the module is in the package `unimr`, which must be installed: sentence-transformers "
        "has none for an NLU module, and its own constructor refuses classes of other packages without a flag.\n\n"
        "```python\nfrom unimr.model.sentence import load_sentence_transformer\n\n"
        'model = load_sentence_transformer("FOLDER")\n'
        'vectors = model.encode(["gato feliz", "happy cat"])\n```\n\n'
        f"Texts are cut after {text.params.text.max_words} words. They need no prompt."
    )


def _made_from(params: Params, notes: dict[str, Any]) -> str:
    rows = [f"| `{name}` | {getattr(params, name).steps:,} | {getattr(params, name).batch_size:,} |" for name in STAGES]
    teacher = params.train_text.teacher
    lines = [
        "## How it was made",
        "",
        f"Profile `{notes.get('profile')}`, tables {str(notes.get('tables'))[:16]} (SHA-256 of the validated tables), "
        f"torch {notes.get('torch')}. Languages: {', '.join(params.prepare.languages)}.",
        "",
        "| stage | steps | batch |",
        "|---|---:|---:|",
        *rows,
    ]
    return "\n".join(lines + ([f"\nTeacher in `train_text`: {teacher.name}."] if teacher else []))


def _reaches(root: Path, model: Path) -> str:
    evaluation = root / "metrics" / "evaluation.json"
    of = read_json(evaluation).get("model", {}).get("version") if evaluation.exists() else None
    if of == model_version(model):
        return f"## What it reaches\n\nThe whole model, on test queries.\n\n{results_table(root)}"
    metrics = [f"| {name} | {value:.3f} |" for name, value in sorted(read_json(model / "metrics.json").items())]
    header = ["## What it reaches", "", "Measured when training ended.", "", "| measure | score |", "|---|---:|"]
    return "\n".join(header + metrics)


def _licences(text: TextModel) -> str:
    lines = [
        "## Licence",
        "",
        "The code is under Apache-2.0. A model carries the terms of the data it was trained on; ",
    ]
    lines[-1] += "those of the default catalogue are in the file NOTICE of the project."
    if isinstance(text.params.text, HfTextParams) and text.params.text.name:
        lines[-1] += " So it does those of the checkpoint it began from."
    return "\n".join(lines)
