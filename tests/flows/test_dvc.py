from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml

from flows.dvc import GRACE_SECONDS, run_stage, stages, unchanged_stages
from unimr.errors import UnimrError

from .small_project import PROJECT, STAGES, below, kill_all, make, notes, start, started, wait_until

GONE_WITHIN = 10


@pytest.fixture
def root(tmp_path):
    yield make(tmp_path / "project")
    kill_all(tmp_path / "project")


def run(root: Path, force: bool = False) -> list[str]:
    return [run_stage(stage, print, force, root).outcome for stage in STAGES]


def test_the_stages_are_those_of_dvc_yaml_and_each_stands_after_what_it_needs():
    described = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"]
    assert stages(PROJECT) == list(described)
    made: set[str] = set()
    outputs = {name: set() for name in described}
    for name, stage in described.items():
        for out in [*stage.get("outs", []), *stage.get("metrics", [])]:
            outputs[name].add(out if isinstance(out, str) else next(iter(out)))
    everything = set().union(*outputs.values())
    for name, stage in described.items():
        assert {dep for dep in stage["deps"] if dep in everything} <= made
        made |= outputs[name]


def test_a_folder_without_a_pipeline_says_where_to_run(tmp_path):
    with pytest.raises(UnimrError, match=r"dvc\.yaml does not exist\. Run the flow in the project folder"):
        stages(tmp_path)


def test_a_stage_runs_is_unchanged_or_is_restored_as_dvc_decides(root):
    assert run(root) == ["ran", "ran", "ran"]
    assert run(root) == ["unchanged"] * 3
    (root / "in.txt").write_text("2")
    assert run(root) == ["ran", "ran", "ran"]
    (root / "in.txt").write_text("1")
    assert run(root) == ["restored"] * 3
    assert (root / "measured.txt").read_text().startswith("1 ")
    assert run(root, force=True) == ["ran", "ran", "ran"]


def test_dvc_is_asked_once_which_stages_are_up_to_date(root):
    assert unchanged_stages(print, root) == set()
    run(root)
    assert unchanged_stages(print, root) == set(STAGES)
    (root / "model.txt").unlink()
    assert "prepare" in unchanged_stages(print, root)
    assert "train_joint" not in unchanged_stages(print, root)


def test_the_command_line_and_run_stage_share_what_was_done(root):
    run(root)
    done = subprocess.run([sys.executable, "-m", "dvc", "repro"], cwd=root, capture_output=True, text=True, check=True)
    assert "Running stage" not in done.stdout
    (root / "in.txt").write_text("3")
    subprocess.run([sys.executable, "-m", "dvc", "repro"], cwd=root, capture_output=True, check=True)
    assert run(root) == ["unchanged"] * 3


def test_lines_come_while_the_stage_runs(root):
    (root / "hold").touch()
    said = []

    def on_line(line: str) -> None:
        said.append(line)
        if "step 1/" in line:
            (root / "hold").unlink()  # else it would wait for ever

    run_stage("prepare", said.append, root=root)
    assert run_stage("train_joint", on_line, root=root).outcome == "ran"
    assert "made by prepare" in said
    assert not [line for line in said if "dvc push" in line or "git add" in line]


def test_a_failed_stage_says_what_it_said(root):
    (root / "broken").touch()
    run_stage("prepare", print, root=root)
    with pytest.raises(UnimrError) as failure:
        run_stage("train_joint", print, root=root)
    assert str(failure.value) == "The stage train_joint failed: the loss became nan. Lower the learning rate."
    (root / "train.py").write_text("raise SystemExit(3)")
    with pytest.raises(UnimrError, match=r"The stage train_joint failed: .*exited with 3"):
        run_stage("train_joint", print, root=root)


def test_while_another_dvc_works_on_the_files_it_waits_and_names_it(root):
    (root / "hold").touch()
    other = start("import sys; from dvc.cli import main; sys.argv[0] = 'dvc'; sys.exit(main(['repro']))", root)
    wait_until(lambda: bool(started(root)))
    said = []

    def on_line(line: str) -> None:
        said.append(line)
        if "waits" in line:
            (root / "hold").unlink()

    assert run_stage("train_joint", on_line, root=root).outcome == "unchanged"
    assert said[0] == f"The stage train_joint waits: its files are in use by process {other.pid} (dvc)"
    assert not [line for line in said if "is busy" in line or "manually remove" in line]
    assert other.wait() == 0
    assert len(started(root)) == 1


RUN = "from flows.dvc import run_stage; run_stage('prepare', print); run_stage('train_joint', print)"
SHELLS = {"program": "python train.py", "shell between": "echo begun && python train.py && echo ended"}


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")
@pytest.mark.parametrize("command", SHELLS)
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_when_the_flow_dies_the_stage_ends_and_saves(root, command, how):
    (root / "dvc.yaml").write_text((root / "dvc.yaml").read_text().replace("python train.py", SHELLS[command]))
    (root / "hold").touch()
    flow = start(RUN, root)
    wait_until(lambda: bool(started(root)))
    os.kill(flow.pid, how)
    assert wait_until(lambda: not below(root), GONE_WITHIN) < GONE_WITHIN
    assert "checkpoint" in notes(root)
    (root / "hold").unlink()
    assert run(root) == ["unchanged", "ran", "ran"]  # no lock is left either


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")
def test_a_stage_that_does_not_listen_is_killed(root):
    (root / "hold").touch()
    (root / "deaf").touch()
    flow = start(RUN, root)
    wait_until(lambda: bool(started(root)))
    os.kill(flow.pid, signal.SIGKILL)
    seconds = wait_until(lambda: not below(root), GONE_WITHIN)
    assert GRACE_SECONDS - 1 < seconds < GONE_WITHIN


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux")
@pytest.mark.parametrize("victims", ["flow", "all"])
def test_a_kill_while_dvc_writes_its_lock_file_leaves_a_whole_one(root, victims):
    run(root)
    path, data = root / "dvc.lock", yaml.safe_load((root / "dvc.lock").read_text())
    data["stages"] |= {f"former-{number}": {"cmd": "true"} for number in range(4000)}  # so that writing takes a while
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    (root / "in.txt").write_text("2")
    size, flow = path.stat().st_size, start(RUN, root)
    while path.stat().st_size >= size and not list(root.glob("dvc.lock.*")):  # until it is being written
        time.sleep(0.002)
    for process in [flow.pid] if victims == "flow" else [each.pid for each in below(root)]:
        os.kill(process, signal.SIGKILL)
    wait_until(lambda: not below(root), GONE_WITHIN)
    assert yaml.safe_load(path.read_text())["stages"].keys() == data["stages"].keys()


HOLD = """
import sys, time
from pathlib import Path
from flows.dvc import only_writer
with only_writer("{name}", print):
    print("in", flush=True)
    while not Path("go").exists():
        time.sleep(0.05)
"""


def test_one_writer_at_a_time_and_the_other_is_told_for_whom_it_waits(root):
    first = start(HOLD.format(name="weekly"), root)
    assert first.stdout.readline() == "in\n"
    second = start(HOLD.format(name="drift"), root, PYTHONUNBUFFERED="1")
    assert second.stdout.readline() == f"Waiting for the run 'weekly' (process {first.pid}) to end\n"
    (root / "go").touch()
    assert second.communicate(timeout=30)[0] == "in\n"
    assert first.wait() == second.wait() == 0
    assert (root / ".work/pipeline.lock").read_text() == ""


def test_a_writer_that_was_killed_holds_nobody_up(root):
    first = start(HOLD.format(name="weekly"), root)
    assert first.stdout.readline() == "in\n"
    first.kill()
    first.wait()
    (root / "go").touch()
    begun = time.monotonic()
    second = start(HOLD.format(name="drift"), root)
    assert second.communicate(timeout=30)[0] == "in\n"
    assert time.monotonic() - begun < 10


class Swallows:
    """As compiled code does: what is raised while it runs is lost. It is asked to end at that very moment."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.5)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_being_asked_to_end_while_a_line_is_told_is_not_lost(root):
    (root / "hold").touch()

    def end(_number, _frame):
        raise InterruptedError("asked to end")

    def tell(line: str) -> None:
        if "step 1/" in line:
            wait_until(lambda: bool(started(root)))
            Swallows()

    run_stage("prepare", print, root=root)
    previous = signal.signal(signal.SIGTERM, end)
    at_last = threading.Timer(GONE_WITHIN, (root / "hold").unlink)  # else a lost wish would be waited for without end
    at_last.start()
    try:
        with pytest.raises(InterruptedError, match="asked to end"):
            run_stage("train_joint", tell, root=root)
    finally:
        at_last.cancel()
        signal.signal(signal.SIGTERM, previous)
    assert below(root) == []
    assert set(notes(root)[1:]) == {"checkpoint"}  # it may be told twice: by the flow, and by the death of its parent
