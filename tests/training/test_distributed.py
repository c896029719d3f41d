"""Several processes take the steps that one process would take."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch

from unimr.files import read_json
from unimr.model.manifest import verify_manifest

from .several import largest_difference, steps_in
from .small_project import PATIENCE, PROJECT, STEPS, TRAINING, wait_until

TOLERANCE = 5e-5
"""In float32, of any gradient, loss or running mean: see `largest_difference`."""


@pytest.mark.parametrize(
    ("stage", "section"), [*((stage, {}) for stage in TRAINING), ("train_text", {"contrast_weight": 2.0})]
)
def test_processes_give_the_loss_and_the_gradients_of_one(steps_of, stage, section):
    _, (one,) = steps_of(stage, 1, steps=1, **section)
    for count in (2, 4):
        _, (first, *others) = steps_of(stage, count, steps=1, **section)
        assert largest_difference(first, one) < TOLERANCE
        for other in others:
            assert all(torch.equal(value, first[name]) for name, value in other.items())


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1)])
def test_another_number_of_processes_goes_on_where_the_first_stopped(steps_of, before, after):
    _, (whole,) = steps_of("train_text", 1, steps=12)
    root, _ = steps_of("train_text", before, stop_after=6, steps=12)
    (checkpoint,) = root.glob(".work/train_text/*/step-00000006/manifest.json")
    assert read_json(checkpoint)["notes"]["processes"] == before
    _, (rest, *_) = steps_of("train_text", after, root=root, steps=12)
    assert len(rest["loss"]) == 6
    assert torch.allclose(rest["loss"], whole["loss"][6:], rtol=1e-4)


LAUNCH = ("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2")
STAGE = ("-m", "unimr.cli", "stage", "train_text")


def launch(root: Path, log: Path, *options: str) -> subprocess.Popen[bytes]:
    """`accelerate launch` of the real command, on CPU."""
    with socket.socket() as free, log.open("wb") as handle:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
        env = os.environ | {"ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(PROJECT)}
        command = [sys.executable, *LAUNCH, "--main_process_port", port, *options, *STAGE]
        return subprocess.Popen(command, cwd=root, env=env, stdout=handle, stderr=handle)


@pytest.fixture
def ready(project, trained):
    """An untrained project in which the image encoder is there."""
    shutil.copytree(trained / "models" / "train_image", project / "models" / "train_image")
    return project


def under_way(log: Path) -> bool:
    return bool(re.search(r"step [5-9]/", log.read_text()))


def workers(launcher: int) -> list[psutil.Process]:
    """The two processes of a launched stage, the main one first."""
    found = [each for each in psutil.Process(launcher).children(recursive=True) if "stage" in each.cmdline()]
    return sorted(found, key=lambda each: int(each.environ()["RANK"]))


@pytest.mark.slow
def test_a_launched_stage_is_written_once_and_goes_on_after_sigterm(ready, trained, tmp_path):
    log, second = tmp_path / "log", tmp_path / "second"
    process = launch(ready, log)
    assert wait_until(lambda: under_way(log), lambda: process.poll() is None), log.read_text()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) != 0
    stopped = int(re.search(r"Stopped by SIGTERM after step (\d+);", log.read_text())[1])
    assert launch(ready, second).wait(timeout=PATIENCE) == 0, second.read_text()
    said = second.read_text()
    assert f"going on after step {stopped} of {STEPS['train_text']}" in said
    assert said.count(f"step {STEPS['train_text']}/{STEPS['train_text']}") == 1
    assert re.search(r" (\d+) samples/s  (\d+) samples/s/device  data \d", said)
    assert verify_manifest(ready / "models" / "train_text")["notes"]["profile"] == "tiny"
    assert not list(ready.glob(".work/*/*"))


def test_when_one_process_dies_the_others_end_and_say_so(ready, tmp_path):
    log = tmp_path / "log"
    process = launch(ready, log)
    assert wait_until(lambda: under_way(log), lambda: process.poll() is None), log.read_text()
    workers(process.pid)[1].kill()
    assert process.wait(timeout=60) != 0
    assert "Error in process 0: Process 0 lost the others of this run" in log.read_text()
    assert not (ready / "models" / "train_text").exists()


def namespace(*command: str) -> None:
    subprocess.run(["ip", *command], check=True, capture_output=True)


@pytest.fixture
def hosts():
    """Two network namespaces joined by a cable, as two hosts: their names; addresses 10.111.0.1 and 10.111.0.2."""
    names = [f"unimr-{os.getpid()}-{place}" for place in (0, 1)]
    try:
        for name in names:
            namespace("netns", "add", name)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"network namespaces need `ip`, root and a kernel that has them: {error}")
    try:
        namespace("link", "add", "wire0", "netns", names[0], "type", "veth", "peer", "wire1", "netns", names[1])
        for place, name in enumerate(names):
            namespace("-n", name, "addr", "add", f"10.111.0.{place + 1}/24", "dev", f"wire{place}")
            for device in ("lo", f"wire{place}"):
                namespace("-n", name, "link", "set", device, "up")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False)


@pytest.mark.slow
def test_two_hosts_give_the_loss_and_the_gradients_of_one_process(hosts, steps_of, trained, tmp_path):
    _, (one,) = steps_of("train_joint", 1, steps=1)
    root, out = shutil.copytree(trained, tmp_path / "shared"), tmp_path / "left"
    out.mkdir()
    overrides = ("train_joint.steps=1", "train_joint.batch_size=13")
    started = []
    for place, host in enumerate(hosts):
        env = os.environ | {
            "ACCELERATE_USE_CPU": "true",
            "GLOO_SOCKET_IFNAME": f"wire{place}",
            "PYTHONPATH": str(PROJECT),
        }
        machines = ("--num_machines", "2", "--machine_rank", str(place), "--main_process_ip", "10.111.0.1")
        what = ("--main_process_port", "29511", "-m", "tests.training.several", str(root), "train_joint", str(out))
        command = ["ip", "netns", "exec", host, sys.executable, *LAUNCH, *machines, *what, *overrides]
        started.append(subprocess.Popen(command, cwd=root, env=env))
    assert [process.wait(timeout=PATIENCE) for process in started] == [0, 0]
    first, second = steps_in(out)
    assert largest_difference(first, one) < TOLERANCE
    assert all(torch.equal(value, first[name]) for name, value in second.items())
