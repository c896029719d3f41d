from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from unimr.config import Params, load_params

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
