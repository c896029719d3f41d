from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from unimr.config import load_params
from unimr.data.tables import read_table
from unimr.model.tokenizer import NgramTokenizer
from unimr.params import Params
from unimr.training.corpus import TextCorpus
from unimr.training.text_task import PictureVectors, TextTask

from .small_project import TRAINING, finish, write_project


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

    def make(kind: type[TextTask] = TextTask) -> TextTask:
        text = params.model.text
        tokenizer = NgramTokenizer(text.buckets, text.ngram_max, text.max_words)
        torch.manual_seed(0)
        vectors = PictureVectors(torch.eye(len(item_ids), params.model.dim), torch.arange(len(item_ids)))
        return kind(params.model, params.train_text, TextCorpus(texts, utterances, item_ids, tokenizer), vectors)

    return make
