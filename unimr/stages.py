"""The stages of the pipeline by name: what `dvc.yaml` runs, one at a time."""

from __future__ import annotations

import gc
import importlib
import logging
import time
from pathlib import Path

from unimr.config import load_params
from unimr.errors import UnimrError
from unimr.processes import die_with_parent

log = logging.getLogger(__name__)

STAGES = {
    "fetch": "unimr.data.fetch:run",
    "prepare": "unimr.data.prepare:run",
    "validate": "unimr.quality.validate:run",
    "train_image": "unimr.training.stages:run_train_image",
    "train_text": "unimr.training.stages:run_train_text",
    "train_nlu": "unimr.training.stages:run_train_nlu",
    "train_joint": "unimr.training.stages:run_train_joint",
    "embed": "unimr.index.embed:run",
    "evaluate": "unimr.evaluation.evaluate:run",
    "index": "unimr.index.build:run",
    "monitor": "unimr.monitoring.monitor:run",
}
"""Stage → the function that runs it; imported only when it runs, since no stage needs the libraries of all."""

GARBAGE_OBJECTS = 100_000
"""New objects between two collections: with Python's 700, growing tables of rows are walked over again and again."""


def run_stage(name: str, root: Path) -> None:
    """Run one stage in the project folder `root`.

    Raises:
        UnimrError: there is no such stage, or the stage failed in a way the user can act on.
    """
    if name not in STAGES:
        raise UnimrError(f"There is no stage {name!r}. Stages: {', '.join(STAGES)}.")
    die_with_parent()
    gc.set_threshold(GARBAGE_OBJECTS)
    params = load_params(root)
    module, function = STAGES[name].split(":")
    started = time.perf_counter()
    getattr(importlib.import_module(module), function)(params, root)
    log.info("%s: done in %.1f s (profile %s)", name, time.perf_counter() - started, params.profile)
