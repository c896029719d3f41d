"""A DVC project of three stages that take no time, or as long as a test wants."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

PROJECT = Path(__file__).parents[2]

STAGES = ("prepare", "train_joint", "evaluate")

DVC_YAML = """
stages:
  prepare:
    cmd: echo made by prepare && cat in.txt > prepared.txt
    deps: [in.txt]
    outs: [prepared.txt]
  train_joint:
    cmd: python train.py
    deps: [prepared.txt]
    params: [train_joint.steps]
    outs: [model.txt]
  evaluate:
    cmd: mkdir -p metrics && cat model.txt > measured.txt && echo "{}" > metrics/evaluation.json
    deps: [model.txt]
    outs: [measured.txt]
    metrics:
      - metrics/evaluation.json: {cache: false}
"""

TRAIN = """
import os, signal, sys, time
from pathlib import Path
import yaml
from unimr.processes import die_with_parent
die_with_parent()
notes = Path("notes.txt")
def note(text):
    with notes.open("a") as file:
        file.write(text + "\\n")
def stop(*_):
    note("checkpoint")
    if not Path("deaf").exists():
        sys.exit(143)
signal.signal(signal.SIGTERM, stop)
steps = yaml.safe_load(Path("params.yaml").read_text())["train_joint"]["steps"]
print(f"train_joint text 1.000  step 1/{steps}  10 samples/s", flush=True)
note(f"started {os.getpid()}")
while Path("hold").exists():
    time.sleep(0.05)
if Path("broken").exists():
    sys.exit("Error: the loss became nan. Lower the learning rate.")
Path("model.txt").write_text(f"{Path('prepared.txt').read_text()} {steps}")
note("done")
"""


def make(root: Path) -> Path:
    """Write the project; it has the parameters of this one."""
    (root / ".dvc").mkdir(parents=True)
    (root / ".dvc" / "config").write_text(
        "[core]\n    no_scm = True\n    analytics = false\n    check_update = false\n    autostage = false\n"
    )
    (root / "dvc.yaml").write_text(DVC_YAML)
    (root / "train.py").write_text(TRAIN)
    (root / "in.txt").write_text("1")
    (root / "params.yaml").write_text((PROJECT / "params.yaml").read_text())
    (root / "profiles").mkdir()
    for profile in (PROJECT / "profiles").glob("*.yaml"):
        (root / "profiles" / profile.name).write_text(profile.read_text())
    return root


def notes(root: Path) -> list[str]:
    """What became of the training processes: "started <pid>", "checkpoint", "done"."""
    path = root / "notes.txt"
    return path.read_text().splitlines() if path.exists() else []


def started(root: Path) -> list[int]:
    """Process numbers of the trainings so far."""
    return [int(note.split()[1]) for note in notes(root) if note.startswith("started")]


def start(code: str, root: Path, **environment: str) -> subprocess.Popen[str]:
    """Run Python code in the project as a process of its own; its output can be read."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=root, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": str(PROJECT), "PATH": path, **environment},
    )  # fmt: skip


def wait_until(happened: Callable[[], bool], seconds: float = 60) -> float:
    """Wait for something and give the seconds it took."""
    begun = time.monotonic()
    while not happened():
        if time.monotonic() - begun > seconds:
            raise AssertionError(f"It did not happen within {seconds} s")
        time.sleep(0.05)
    return time.monotonic() - begun


def below(root: Path) -> list[psutil.Process]:
    """Other processes that work in the project folder."""
    found = []
    for process in psutil.process_iter():
        try:
            alive = process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE
            if alive and process.cwd() == str(root):
                found.append(process)
        except psutil.Error:  # it has just ended, or is not ours
            continue
    return found


def kill_all(root: Path) -> None:
    """End what a test left in the project folder."""
    for process in below(root):
        os.kill(process.pid, signal.SIGKILL)
