from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from unimr.errors import UnimrError
from unimr.stages import STAGES, run_stage

PROJECT = Path(__file__).parents[1]


def test_an_unknown_stage_lists_the_known_ones(tmp_path):
    with pytest.raises(UnimrError, match=r"There is no stage 'trian'\. Stages: fetch, prepare, "):
        run_stage("trian", tmp_path)


@pytest.mark.parametrize("name", STAGES)
def test_every_stage_has_its_function(name):
    """Read, not imported: the libraries of all stages together take many seconds to load."""
    module, function = STAGES[name].split(":")
    source = PROJECT / Path(*module.split(".")).with_suffix(".py")
    functions = [node for node in ast.parse(source.read_text()).body if isinstance(node, ast.FunctionDef)]
    assert [arg.arg for node in functions if node.name == function for arg in node.args.args] == ["params", "root"]


def test_dvc_runs_the_stages_by_these_names():
    stages = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"]
    assert list(stages) == list(STAGES)


def test_a_failure_on_the_command_line_is_one_paragraph_and_status_1(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "unimr.cli", "stage", "trian"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Error: There is no stage 'trian'.")
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
