"""A project folder in which all four training stages run in a second or two each, and processes that run them."""

from __future__ import annotations

import itertools
import logging
import multiprocessing
import shutil
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import yaml

from tests.quality.small_catalogue import ITEMS, item_id, small_catalogue
from unimr.config import choose_profile
from unimr.data.tables import write_table
from unimr.files import sha256_of, write_json
from unimr.stages import run_stage

PROJECT = Path(__file__).parents[2]
TRAINING = ("train_image", "train_text", "train_nlu", "train_joint")
STEPS = {"train_image": 30, "train_text": 30, "train_nlu": 30, "train_joint": 18}
EVERY = 3
"""Steps between checkpoints."""
SCHEDULE = {"batch_size": 12, "warmup_steps": 4, "checkpoint_every": EVERY}
JOINT = {"image_batch_size": 8, "nlu_batch_size": 8, "regression_margin": 1.0}
TINY = {
    "model": {
        "dim": 32,
        "matryoshka_dims": [16, 32],
        "text": {"buckets": 1024, "layers": 1, "heads": 2, "max_words": 20},
        "nlu": {"layers": 1, "heads": 2},
        "image": {"channels": [8, 16, 16], "image_size": 16},
    },
    **{stage: {"steps": steps, **SCHEDULE} for stage, steps in STEPS.items()},
}
TINY["train_joint"] |= JOINT
PATIENCE = 300.0
"""Seconds to wait for something that takes one or two."""

PROCESSES = multiprocessing.get_context("forkserver")
LOADED = ["tests.training.small_project", "unimr.training.stages", "torch._dynamo"]
"""Modules that the server has imported, so that a process forked from it starts at once."""
PROCESSES.set_forkserver_preload(LOADED)


def write_project(root: Path) -> Path:
    """Validated tables of the small catalogue and the committed parameters with a profile `tiny`."""
    folder = root / "data" / "validated"
    for name, frame in small_catalogue().items():
        write_table(folder, name, frame)
    pairs = itertools.pairwise(ITEMS[:21])
    rows = [
        {"base": item_id(*base), "variant": item_id(*variant), "words": ["dark", "濃い"]} for base, variant in pairs
    ]
    write_json(folder / "compositions.json", rows)
    (root / "profiles").mkdir()
    (root / "profiles" / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    shutil.copy(PROJECT / "params.yaml", root)
    choose_profile("tiny", root)
    return root


def run_stages(root: Path, stages: tuple[str, ...], log: Path) -> None:
    """Run the stages that are not done yet, one after the other, as `dvc repro` would."""
    logging.basicConfig(filename=log, level=logging.INFO, format="%(message)s", force=True)
    for stage in stages:
        done = root / f"{stage}.done"
        if not done.exists():
            run_stage(stage, root)
            done.touch()


def start(root: Path, stages: tuple[str, ...], log: Path) -> BaseProcess:
    """A process of its own that runs the stages; the libraries are loaded already, so that it starts at once."""
    log.unlink(missing_ok=True)
    process = PROCESSES.Process(target=run_stages, args=(root, stages, log))
    process.start()
    return process


def finish(root: Path, stages: tuple[str, ...], log: Path) -> str:
    """Run the stages to their end and give the log."""
    process = start(root, stages, log)
    process.join(PATIENCE)
    text = log.read_text() if log.exists() else ""
    assert process.exitcode == 0, text
    return text


def wait_until(condition, alive) -> bool:
    """Wait for a condition as long as something is alive; whether it came."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if not alive() or time.monotonic() > end:
            return False
        time.sleep(0.0005)
    return True


def weights(root: Path, stages: tuple[str, ...] = TRAINING) -> dict[str, str]:
    """SHA-256 of the weights that each stage left."""
    return {stage: sha256_of(root / "models" / stage / "model.safetensors") for stage in stages}
