from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from tests.training.small_project import TRAINING, write_project
from unimr.study import study as module
from unimr.study.compare import Comparison, Estimate

STEPS = {stage: {"steps": 4, "warmup_steps": 1} for stage in TRAINING}


@pytest.fixture(scope="session")
def small(tmp_path_factory) -> Path:
    """A project folder with tiny tables and a study of two variants and two seeds; do not change it."""
    root = write_project(tmp_path_factory.mktemp("small"))
    profile = root / "profiles" / "tiny.yaml"
    values = yaml.safe_load(profile.read_text())
    for stage, steps in STEPS.items():
        values[stage] |= steps
    values["study"] = {
        "profile": "tiny", "variants": ["unified", "text_only"], "peers": [], "seeds": 2, "bootstrap_samples": 200
    }  # fmt: skip
    profile.write_text(yaml.safe_dump(values))
    return root


@pytest.fixture
def root(small, tmp_path, monkeypatch) -> Path:
    """A copy of it, to change. Its study takes the tables that are there, which no source made."""
    shutil.copytree(small, tmp_path / "project")
    monkeypatch.setattr(module, "make_tables", copy_tables)
    return tmp_path / "project"


def copy_tables(_params, root: Path, work: Path) -> None:
    shutil.copytree(root / "data" / "validated", work / "data" / "validated", dirs_exist_ok=True)


def compared(name: str, measure: str, difference: float, verdict: str) -> Comparison:
    """A comparison as a study would have found it."""
    score, change = Estimate(0.5, 0.4, 0.6), Estimate(difference, difference - 0.01, difference + 0.01)
    return Comparison(name, measure, score, (0.5, 0.5), 100, change, 0.001, verdict)
