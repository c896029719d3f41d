from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from unimr.config import load_params
from unimr.stages import STAGES

PROJECT = Path(__file__).parents[1]
HEAVY = (
    "torch",
    "pandas",
    "numpy",
    "pymilvus",
    "milvus_lite",
    "great_expectations",
    "evidently",
    "httpx",
    "pyarrow",
    "PIL",
    "matplotlib",
)
COMMANDS = ("search", "stage", "import", "publish", "rollback", "monitor", "simulate", "calibrate", "profile")


def unimr(*arguments: str, folder: Path = PROJECT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "unimr.cli", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)


def test_the_command_line_imports_nothing_heavy():
    code = f"import sys, unimr.cli; print(*[name for name in {HEAVY} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""


def test_help_takes_half_a_second_of_cpu_at_most():
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert unimr("--help").returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime < 0.5


def test_help_shows_every_command():
    shown = unimr("--help").stdout
    assert [name for name in COMMANDS if f" {name} " not in shown] == []


def test_without_arguments_the_help_is_shown():
    done = unimr()
    assert "Usage" in done.stdout + done.stderr


def test_every_stage_of_dvc_yaml_is_known_and_has_its_section():
    stages = yaml.safe_load((PROJECT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    assert list(stages) == list(STAGES)
    sections = {name.rstrip("_") for name in type(load_params(PROJECT)).model_fields}
    assert set(STAGES) <= sections


def test_no_library_is_asked_to_call_home():
    code = "import os, unimr.cli; print(os.environ['DO_NOT_TRACK'], os.environ['GX_ANALYTICS_ENABLED'])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["1", "false"]


def test_monitor_says_what_is_wrong_and_ends_with_status_1(tmp_path):
    shutil.copy(PROJECT / "params.yaml", tmp_path)
    shutil.copytree(PROJECT / "profiles", tmp_path / "profiles")
    done = unimr("monitor", folder=tmp_path)
    assert done.returncode == 1
    assert done.stdout.startswith("Index. Act now: There is no index in published. Run `dvc repro`")
    report = json.loads((tmp_path / "reports/monitoring/health.json").read_text(encoding="utf-8"))
    assert report["verdict"] == "broken"
