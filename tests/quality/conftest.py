from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest

from unimr.config import load_params
from unimr.data.tables import write_table
from unimr.files import write_json
from unimr.params import Params

from .small_catalogue import TRAINED, UNTRAINED, Tables, small_catalogue

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def clean_tables() -> Tables:
    return small_catalogue()


@pytest.fixture
def tables(clean_tables: Tables) -> Tables:
    """A copy to change."""
    return copy.deepcopy(clean_tables)


@pytest.fixture(scope="session")
def params() -> Params:
    """The project's own parameters, with the languages of the small catalogue."""
    real = load_params(PROJECT)
    prepare = real.prepare.model_copy(
        update={"languages": TRAINED, "untrained_languages": UNTRAINED, "unseen_styles": ["openmoji"]}
    )
    return real.model_copy(update={"prepare": prepare})


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project folder with the committed suites and no data yet."""
    (tmp_path / "expectations").symlink_to(PROJECT / "expectations")
    return tmp_path


@pytest.fixture
def prepared(project: Path) -> Callable[[Tables], Path]:
    """Write tables as the stage `prepare` would; returns the project folder."""

    def write(tables: Tables) -> Path:
        folder = project / "data" / "prepared"
        for name, frame in tables.items():
            write_table(folder, name, frame)
        write_json(folder / "slot_values.json", {"en": {"gender": {"woman": ["woman"]}}})
        return project

    return write
