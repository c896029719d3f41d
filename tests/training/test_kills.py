"""Training that is killed and started again ends with the bytes of training that never was."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .small_project import EVERY, STEPS, TRAINING, finish, start, wait_until, weights

MOMENTS = ("step", "save", "model", "between")
"""Where a run is killed: in a stage's steps, in a checkpoint, in the save of its model, or just after it."""
ATTEMPTS = 10


def steps_done(log: Path, stage: str) -> int:
    """The last step that the log of a run tells of; 0 if none."""
    lines = re.findall(rf"^{stage}\b.* step (\d+)/", log.read_text(), re.MULTILINE) if log.exists() else []
    return int(lines[-1]) if lines else 0


def half_written(root: Path, stage: str, moment: str) -> set[Path]:
    """Folders that a run is writing, or that one left when it was killed."""
    pattern = f"models/{stage}.tmp-*" if moment == "model" else f".work/{stage}/*/*.tmp-*"
    while True:
        try:
            return set(root.glob(pattern))
        except FileNotFoundError:  # the run removed a folder while it was read: look again
            continue


def kill(root: Path, stage: str, moment: str, dice: random.Random, said: list[str]) -> bool:
    """Run up to `stage` (and into the next), SIGKILL at the moment; whether a folder was left half-written.

    What the runs log is added to `said`.
    """
    log, place = root / "log", TRAINING.index(stage)
    deep = dice.randint(EVERY + 1, 2 * STEPS[stage] // 3)  # at least one checkpoint is whole by then
    for _ in range(ATTEMPTS):
        left = half_written(root, stage, moment)

        def reached(left=left) -> bool:
            if moment == "between":
                return (root / f"{stage}.done").exists()
            if moment == "model":
                return half_written(root, stage, moment) > left
            return steps_done(log, stage) >= deep and (moment == "step" or half_written(root, stage, moment) > left)

        process = start(root, TRAINING[: place + 1 + (moment == "between")], log)
        if wait_until(reached, process.is_alive):
            time.sleep(dice.uniform(0, 0.05) if moment in ("step", "between") else 0)
        process.kill()
        process.join()
        said.append(log.read_text() if log.exists() else "")
        if process.exitcode == -signal.SIGKILL:
            return half_written(root, stage, moment) > left
        assert process.exitcode == 0, log.read_text()
        undo(root, stage)  # it was done before the kill came: again
    raise AssertionError(f"{stage} was never killed at `{moment}`")


def undo(root: Path, stage: str) -> None:
    for later in TRAINING[TRAINING.index(stage) :]:
        (root / f"{later}.done").unlink(missing_ok=True)
        shutil.rmtree(root / "models" / later, ignore_errors=True)


def kill_and_compare(project: Path, trained: Path, plan: list[tuple[str, str]], seed: int) -> int:
    """Kill at every (stage, moment) of the plan, in the order of the stages; gives the kills inside a save."""
    dice = random.Random(seed)
    halves, said = 0, []
    for stage, moment in plan:
        halves += kill(project, stage, moment, dice, said)
    said.append(finish(project, TRAINING, project / "log"))
    for stage in TRAINING:
        assert any(f"{stage}: going on after step" in log for log in said)
    assert weights(project) == weights(trained)
    assert not list(project.glob(".work/*/*"))
    return halves


def test_ten_kills_leave_no_trace_in_the_weights(project, trained):
    plan = [(stage, moment) for stage in TRAINING for moment in ("step", "save")]
    plan.insert(4, ("train_text", "model"))
    plan.insert(5, ("train_text", "between"))
    assert len(plan) == 10
    assert kill_and_compare(project, trained, plan, seed=1) >= 1


@pytest.mark.slow
def test_a_hundred_kills_leave_no_trace_in_the_weights(untrained, trained, tmp_path):
    dice, kills, halves = random.Random(2), 0, 0
    for part in range(5):
        project = shutil.copytree(untrained, tmp_path / str(part))
        plan = []
        for stage in TRAINING:
            # In the order of the moments, since a stage that is done has no more steps; after the last, nothing runs.
            moments = dice.choices(MOMENTS[: 3 if stage == TRAINING[-1] else 4], k=5)
            plan += [(stage, moment) for moment in sorted(moments, key=MOMENTS.index)]
        halves += kill_and_compare(project, trained, plan, seed=part)
        kills += len(plan)
    assert kills == 100
    assert halves >= 10


def command(root: Path, stage: str, log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as handle:
        return subprocess.Popen(
            [sys.executable, "-m", "unimr.cli", "stage", stage], cwd=root, stdout=handle, stderr=handle
        )


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_the_command_line_goes_on_after_a_signal(project, trained, tmp_path, how):
    shutil.copytree(trained / "models" / "train_image", project / "models" / "train_image")
    log = tmp_path / "log"
    process = command(project, "train_text", log)
    assert wait_until(lambda: steps_done(log, "train_text") > EVERY, lambda: process.poll() is None)
    asked = time.monotonic()
    os.kill(process.pid, how)
    assert process.wait(timeout=10) == (143 if how == signal.SIGTERM else -signal.SIGKILL)
    assert time.monotonic() - asked < 10
    if how == signal.SIGTERM:
        last = int(log.read_text().partition("SIGTERM after step ")[2].partition(";")[0])
        assert list(project.glob(f".work/train_text/*/step-{last:08d}/manifest.json"))
    said = finish(project, ("train_text",), tmp_path / "second")
    if how == signal.SIGTERM:
        assert f"going on after step {last} of" in said
    assert weights(project, ("train_text",)) == weights(trained, ("train_text",))
