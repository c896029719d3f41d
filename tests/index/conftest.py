from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from unimr.index.build import build
from unimr.index.embed import embed

from .small_index import VERSION, WordEncoder, index_params, params, word_encoder, write_root


@pytest.fixture(scope="session")
def embedded_root(tmp_path_factory) -> Path:
    """A project folder with embeddings; do not change it."""
    root = tmp_path_factory.mktemp("embedded")
    write_root(root)
    embed(params(), root, WordEncoder(), VERSION)
    return root


@pytest.fixture
def root(embedded_root, tmp_path) -> Path:
    """A copy of it, to change."""
    shutil.copytree(embedded_root, tmp_path / "project")
    return tmp_path / "project"


@pytest.fixture
def published(root) -> Path:
    build(index_params(), root, WordEncoder(), VERSION, word_encoder)
    return root
