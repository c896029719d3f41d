"""Kills at random moments, and a cancel, of the real pipeline with profile `ci` under a real server and worker."""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import FlowRun
from prefect.states import Cancelling, Crashed

from flows.automations import LOST
from flows.overrides import overridden
from tests.system.checkout import Project
from unimr.config import load_params
from unimr.files import read_json, sha256_of
from unimr.index.publish import current_version, verify_version, versions, versions_folder

from .conftest import Factory, start_ui, wait_for_state
from .small_project import below, wait_until
from .test_ui import BUSY, wait_for_health

pytestmark = pytest.mark.slow

DELAYS = {"flow": 6.0, "train_joint": 8.0, "embed": 5.0, "evaluate": 8.0, "index": 1.0}
"""Where a run is killed, and at most how many seconds after that has begun; `index`: has begun to build and publish."""
VICTIMS = {"flow": "prefect.engine", "stage": "bin/unimr stage", "worker": "worker start", "machine": "prefect.engine"}
"""Who is killed, and the words of a command line that must be there for it; `machine`: all that `make ui` started."""
KILLS = 15
OF_A_RUN = ("prefect.engine", "flows/dvc.py", "bin/unimr stage")
GONE_SECONDS = 10
RUN_SECONDS = 600
STEPS = 80
"""Of the training that is cancelled, so that it is still on when the cancel comes."""


@pytest.fixture(scope="module")
def factory(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Factory]:
    """The factory, running in a copy of the trained project; nothing of it is left when it has ended."""
    root = copy(project, tmp_path_factory.mktemp("killed"))
    made = start_ui(root, PREFECT_WORKER_QUERY_SECONDS="1")
    with made.client() as client:  # it would count fifteen failures in a row, see test_guard.py
        client.pause_automation(client.read_automations_by_name("Failed retrainings are counted")[0].id)
    yield made
    made.stop(signal.SIGTERM)
    assert below(root) == []


def copy(project: Project, folder: Path) -> Path:
    return Path(shutil.copytree(project.root, folder / "project", symlinks=True))


def undisturbed(project: Project, folder: Path, overrides: dict[str, Any], stage: str) -> Path:
    """A project in which `dvc repro` has run up to a stage, with other parameters and never killed."""
    root = copy(project, folder)
    with overridden(overrides, print, root):
        Project(root).run("dvc", "repro", stage)
    return root


def parameters(root: Path) -> list[bytes]:
    return [(root / name).read_bytes() for name in ("params.yaml", "profiles/ci.yaml")]


def retrain(client: SyncPrefectClient, overrides: dict[str, Any], last_stage: str = "index") -> FlowRun:
    """Submit a run, as the page does."""
    deployment = client.read_deployment_by_name("pipeline/retrain").id
    parameters = {"overrides": overrides, "last_stage": last_stage}
    return client.create_flow_run_from_deployment(deployment, parameters={"parameters": parameters})


def running(root: Path, *words: str) -> list[int]:
    """The processes that work in the project folder and have one of these words in their command line."""
    found = psutil.process_iter(["pid", "cwd", "cmdline"])
    mine = [each.info for each in found if each.info["cwd"] == str(root)]
    return [each["pid"] for each in mine if any(word in " ".join(each["cmdline"] or ()) for word in words)]


def is_free(lock: Path) -> bool:
    with lock.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


# Fifteen kills


def has_come(root: Path, place: str) -> bool:
    """Whether a run is at this place; a stage that an earlier run has finished is passed by."""
    if place == "index":
        return not is_free(root / "published/.lock")
    later = list(DELAYS)[list(DELAYS).index(place) :]
    return place == "flow" or bool(running(root, *(f"bin/unimr stage {stage}" for stage in later)))


def strike(factory: Factory, victim: str, place: str, delay: float) -> bool:
    """SIGKILL the victim at its moment; False if the run has ended before."""
    root = factory.root

    def over() -> bool:
        return not running(root, "prefect.engine")

    wait_until(lambda: not over(), RUN_SECONDS)
    wait_until(lambda: over() or has_come(root, place), RUN_SECONDS)
    time.sleep(delay)
    wait_until(lambda: over() or bool(running(root, VICTIMS[victim])), RUN_SECONDS)
    if over():
        return False
    everything = [each.pid for each in psutil.Process(factory.process.pid).children(recursive=True)]
    for process in everything if victim == "machine" else running(root, VICTIMS[victim]):
        with suppress(ProcessLookupError):
            (os.killpg if victim == "flow" else os.kill)(process, signal.SIGKILL)
    return True


def settle(factory: Factory, client: SyncPrefectClient, run: FlowRun, victim: str) -> None:
    """Wait until nothing of a killed run is left and the server knows how it ended; what is live is whole."""
    root = factory.root
    verify_version(versions_folder(root) / current_version(root))
    wait_for_health(factory.url, 60)
    if victim == "machine":  # nobody was left to tell: an automation would, after 105 s without a sign of life
        client.set_flow_run_state(run.id, Crashed(message=LOST))
    wait_until(lambda: client.read_flow_run(run.id).state.is_final(), RUN_SECONDS)
    wait_until(lambda: not running(root, *OF_A_RUN), GONE_SECONDS * BUSY)


def fifteen_kills(factory: Factory, client: SyncPrefectClient) -> tuple[list[FlowRun], dict[str, Any]]:
    """Start runs and kill something of each; gives the runs, the last of them not killed, and what they were asked."""
    dice, runs, params = random.Random(0), [], load_params(factory.root)
    asked: dict[str, Any] = {f"index.gate.tolerance.{name}": 1.0 for name in params.index.gate.tolerance.model_dump()}
    asked |= {"train_joint.seed": 1, "train_joint.steps": 30, "train_joint.regression_margin": 1.0}
    asked |= {"index.text_languages": params.prepare.languages[:1]}
    victims = dice.sample(list(VICTIMS) * 4, k=KILLS)
    for number, victim in enumerate(victims):
        place, killed = list(DELAYS)[number * len(DELAYS) // KILLS], False
        while not killed:
            runs.append(retrain(client, asked))
            killed = strike(factory, victim, place, dice.uniform(0, DELAYS[place]))
            settle(factory, client, runs[-1], victim if killed else "")
            if not killed:  # it was done before its moment came: the next one has an index with a language more
                asked |= {"index.text_languages": params.prepare.languages[: len(asked["index.text_languages"]) + 1]}
    return [*runs, retrain(client, asked)], asked


def times_run(client: SyncPrefectClient, runs: list[FlowRun]) -> Counter[str]:
    """How often each stage ran to its end in these runs, as the server knows it."""
    found = []
    for run in runs:
        found += client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run.id])))
    return Counter(task.name for task in found if task.state.name == "Completed")


def made(root: Path) -> dict[str, str]:
    """SHA-256 of what the pipeline made, and the name of the version, which is a hash of what is in it."""
    files = [path for folder in ("models/train_joint", "data/embeddings") for path in (root / folder).rglob("*.*")]
    of_files = {str(path.relative_to(root)): sha256_of(path) for path in [*files, root / "metrics/evaluation.json"]}
    return of_files | {"version": read_json(root / "metrics/index.json")["version"]}


def dvc_holders(root: Path) -> set[int]:
    """Processes that DVC believes to read or write here; it forgets one that has ended when that is in its way."""
    found = read_json(root / ".dvc/tmp/rwlock")
    readers = {each["pid"] for of_path in found.get("read", {}).values() for each in of_path}
    return readers | {each["pid"] for each in found.get("write", {}).values()}


def test_fifteen_kills_leave_one_whole_version_and_what_runs_that_nobody_killed_make(factory, project, tmp_path):
    root = factory.root
    before = parameters(root)
    with factory.client() as client:
        runs, asked = fifteen_kills(factory, client)
        wait_for_state(client, runs[-1], "Completed", RUN_SECONDS)
        indexes = len(asked["index.text_languages"])
        assert times_run(client, runs) <= Counter(train_joint=1, embed=indexes, evaluate=indexes, index=indexes)
    wait_until(lambda: not running(root, *OF_A_RUN), GONE_SECONDS * BUSY)
    assert parameters(root) == before
    assert is_free(root / ".work/pipeline.lock") and is_free(root / "published/.lock")
    assert not any(psutil.pid_exists(pid) for pid in dvc_holders(root))
    assert list(root.rglob("*.tmp-*")) == []
    live = made(root)["version"]
    assert current_version(root) == verify_version(versions_folder(root) / live)["version"] == live
    assert {path.name for path in versions_folder(root).iterdir()} == set(versions(root))
    assert made(root) == made(undisturbed(project, tmp_path, asked, "index"))


# A cancel


def checkpoints(root: Path) -> list[int]:
    """After how many steps there are checkpoints of an unfinished training."""
    return sorted(int(path.name[5:]) for path in root.glob(".work/train_joint/*/step-*") if path.name[5:].isdigit())


def log_of(client: SyncPrefectClient, run: FlowRun) -> str:
    lines = client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id])), limit=200)
    return "\n".join(line.message for line in lines)


def test_training_that_is_cancelled_ends_soon_and_the_next_run_goes_on_to_the_same_bytes(factory, project, tmp_path):
    root, asked = factory.root, {"train_joint.seed": 2, "train_joint.steps": STEPS}
    with factory.client() as client:
        run = retrain(client, asked, "train_joint")
        wait_until(lambda: bool(checkpoints(root)), RUN_SECONDS)
        client.set_flow_run_state(run.id, Cancelling())  # as the button of the page does
        assert wait_until(lambda: not running(root, "bin/unimr stage"), RUN_SECONDS) < GONE_SECONDS
        wait_for_state(client, run, "Cancelled")
        step = checkpoints(root)[-1]
        again = retrain(client, asked, "train_joint")
        wait_for_state(client, again, "Completed", RUN_SECONDS)
        going_on = f"train_joint: going on after step {step} of {STEPS}"
        wait_until(lambda: going_on in log_of(client, again), GONE_SECONDS * BUSY)  # the log comes later
    weights = "models/train_joint/model.safetensors"
    assert sha256_of(root / weights) == sha256_of(undisturbed(project, tmp_path, asked, "train_joint") / weights)
