from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from unimr.config import load_params
from unimr.data.tables import read_table
from unimr.model.tokenizer import NgramTokenizer
from unimr.params import Params
from unimr.training.corpus import TextCorpus
from unimr.training.text_task import PictureVectors, TextTask

from .several import run_processes, steps_in, take_steps
from .small_project import TRAINING, finish, write_project

UNEVEN = {"batch_size": 13}
"""A batch that no number of processes shares evenly."""


@pytest.fixture(scope="session")
def untrained(tmp_path_factory) -> Path:
    """A project folder with validated tables and tiny parameters; do not change it."""
    return write_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="session")
def trained(untrained, tmp_path_factory) -> Path:
    """The same after all four training stages, never interrupted; do not change it."""
    root = tmp_path_factory.mktemp("trained") / "project"
    shutil.copytree(untrained, root)
    finish(root, TRAINING, root / "log")
    return root


@pytest.fixture
def project(untrained, tmp_path) -> Path:
    """A copy of the untrained project, to change."""
    return shutil.copytree(untrained, tmp_path / "project")


@pytest.fixture(scope="session")
def params(untrained) -> Params:
    return load_params(untrained)


@pytest.fixture(scope="session")
def tables(untrained) -> Path:
    return untrained / "data" / "validated"


@pytest.fixture(scope="session")
def make_task(params, tables) -> Callable[..., TextTask]:
    """Makes the task of stage `train_text` anew, always with the same first weights."""
    texts, utterances = read_table(tables, "texts"), read_table(tables, "utterances")
    item_ids = sorted(texts["item_id"].unique())

    def make(kind: type[TextTask] = TextTask, **section: Any) -> TextTask:
        text, stage = params.model.text, params.train_text.model_copy(update=section)
        tokenizer = NgramTokenizer(text.buckets, text.ngram_max, text.max_words)
        torch.manual_seed(0)
        vectors = PictureVectors(torch.eye(len(item_ids), params.model.dim), torch.arange(len(item_ids)))
        return kind(params.model, stage, TextCorpus(texts, utterances, item_ids, tokenizer), vectors)

    return make


@pytest.fixture
def steps_of(trained, tmp_path):
    """Takes steps of a stage in a project of their own; gives the project and what each of `count` processes left."""

    def take(stage, count, root=None, stop_after=0, **section):
        place = tmp_path / str(len(list(tmp_path.iterdir())))
        root, out = root or shutil.copytree(trained, place / "project"), place / "out"
        out.mkdir(parents=True)
        overrides = {f"{stage}.{name}": value for name, value in (UNEVEN | section).items()}
        main, *others = run_processes(count, take_steps, root, stage, out, overrides, stop_after)
        assert main == 0
        assert all((code == 0) == (stop_after == 0) for code in others)  # they notice that the main process is gone
        return root, steps_in(out)

    return take
