"""The whole factory as real processes: it starts, says so, is one, and ends; and what is killed comes back."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
from prefect.events import Event
from prefect.states import Failed, Running, Scheduled

from flows.services import Service
from tests.system.checkout import ROOT
from unimr.errors import UnimrError

from .conftest import (
    START_SECONDS,
    Factory,
    deploy_sleeping,
    free_port,
    run_sleeping,
    start_ui,
    wait_for_state,
    wait_until,
)

STOP_SECONDS, DIE_SECONDS = 15, 15
TELL_SECONDS = 60
"""For a run to find the server again, which it asks at growing intervals."""
BUSY = 2
"""How much slower a shared machine may be before a time limit counts as missed."""


@pytest.fixture
def running(factory: Factory) -> Factory:
    """The factory; started again where the test before ended it."""
    if factory.process.poll() is not None:
        again = start_ui(factory.root)
        factory.process, factory.url = again.process, again.url
    return factory


def fails(root: Path, **environment: str) -> str:
    """What it says when it cannot start."""
    made = start_ui(root, check=False, **environment)
    assert made.process.wait(START_SECONDS) == 1
    assert "Traceback" not in made.log
    return made.log


def notes(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


# What it says and does when all is well


def test_it_says_where_to_look_and_what_to_do_next(running):
    page = running.url.removesuffix("/api")
    assert f"Page         {page}\n" in running.log
    assert "Next: open the page" in running.log
    with urllib.request.urlopen(page) as answer:
        policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'self'") and "https" not in policy


def test_the_server_answers_from_its_own_copy_what_it_would_ask_outside(running):
    with urllib.request.urlopen(f"{running.url}/collections/views/aggregate-worker-metadata", timeout=10) as answer:
        assert "prefect-kubernetes" in json.load(answer)


def test_everything_is_kept_in_the_project_folder(running):
    assert (running.root / ".prefect/prefect.db").exists()
    assert (running.root / ".prefect/logs/server.log").exists()
    listening = [
        each.laddr
        for process in psutil.Process(running.process.pid).children(recursive=True)
        for each in process.net_connections("inet")
        if each.status == psutil.CONN_LISTEN
    ]
    assert {address.ip for address in listening} == {"127.0.0.1"}


def test_a_run_goes_through(running, tmp_path):
    with running.client() as client:
        run = run_sleeping(client, deploy_sleeping(client, running.root), tmp_path / "notes", seconds=0.1)
        wait_for_state(client, run, "Completed")
        scheduled = client.read_deployment_by_name("monitor/daily")
        wait_until(lambda: bool(client.get_scheduled_flow_runs_for_deployments([scheduled.id])), 90)
    assert notes(tmp_path / "notes") == ["started", "done"] * 2
    assert "Finished in state Completed()" in running.log


def test_a_second_one_says_that_one_runs_already(running):
    done = subprocess.run(
        [sys.executable, "-m", "flows.ui"], cwd=running.root, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(running.root), *sys.path])},
    )  # fmt: skip
    assert done.returncode == 1
    page = running.url.removesuffix("/api")
    assert done.stderr.startswith(f"Error: It runs already, as process {running.process.pid}: {page} ")
    assert running.process.poll() is None


def test_drift_starts_a_retraining_with_the_reason(running):
    with running.client() as client:
        retrain = client.read_deployment_by_name("pipeline/retrain")
        client.pause_deployment(retrain.id)
        client.request("PATCH", "/work_pools/local", json={"is_paused": True})  # the run is looked at, not made
        try:
            before = {run.id for run in client.read_flow_runs(limit=200)}
            event = Event(
                event="unimr.drift.detected",
                resource={"prefect.resource.id": "unimr.retrieval"},
                payload={"reason": "the index is stale"},
            )
            # Not `emit_event`: its client is kept for the life of a process and may know the server of another test.
            client.request("POST", "/events", json=[event.model_dump(mode="json")])

            def made():
                new = [run for run in client.read_flow_runs(limit=200) if run.id not in before]
                return [run for run in new if run.deployment_id == retrain.id]

            wait_until(lambda: bool(made()), 60)
            assert made()[0].parameters["parameters"]["reason"] == "the index is stale"
            for run in made():
                client.delete_flow_run(run.id)
        finally:
            client.request("PATCH", "/work_pools/local", json={"is_paused": False})
            client.resume_deployment(retrain.id)


def test_three_failures_in_a_row_pause_the_schedule(running):
    with running.client() as client:
        retrain = client.read_deployment_by_name("pipeline/retrain").id
        later = datetime.now(UTC) + timedelta(days=1)  # no worker takes it up in the meantime
        for _ in range(3):
            run = client.create_flow_run_from_deployment(retrain, state=Scheduled(scheduled_time=later))
            client.set_flow_run_state(run.id, Failed(message="no data"), force=True)
        assert wait_until(lambda: client.read_deployment(retrain).paused, 120) < 120
        client.resume_deployment(retrain)
        for each in client.read_flow_runs(limit=200):
            if each.deployment_id == retrain:
                client.delete_flow_run(each.id)


# What it says when it cannot start


def test_a_port_in_use_is_named(factory_root, tmp_path):
    root = bare_copy(factory_root, tmp_path)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        said = fails(root, PREFECT_SERVER_API_PORT=str(port))
    assert f"Port {port} of 127.0.0.1 is used by another program" in said
    assert f"PREFECT_SERVER_API_PORT={port + 1} make ui" in said


def test_a_server_that_does_not_answer_is_named(factory_root, tmp_path):
    url = f"http://127.0.0.1:{free_port()}/api"
    said = fails(bare_copy(factory_root, tmp_path), PREFECT_API_URL=url)
    assert f"Error: The Prefect server {url} does not answer" in said


def test_bad_parameters_are_named(factory_root, tmp_path):
    root = bare_copy(factory_root, tmp_path)
    params = (root / "params.yaml").read_text(encoding="utf-8")
    (root / "params.yaml").write_text(params.replace("work_pool_type:", "work_pool_typo:"), encoding="utf-8")
    assert "deploy.work_pool_typo: unknown parameter. Did you mean `work_pool_type`?" in fails(root)


def test_a_bad_port_is_named(factory_root, tmp_path):
    assert "PREFECT_SERVER_API_PORT is '99999'" in fails(
        bare_copy(factory_root, tmp_path), PREFECT_SERVER_API_PORT="99999"
    )


def bare_copy(root: Path, place: Path) -> Path:
    """A project folder with the code of another one and nothing of its state."""
    made = place / "project"
    state = {".prefect", ".git", ".dvc", "data", "docs"}
    shutil.copytree(root, made, ignore=lambda folder, names: state & {*names} if Path(folder) == root else set())
    return made


def test_a_service_that_dies_again_and_again_is_given_up_with_its_last_words(tmp_path):
    service = Service("server", ["-c", "print('no disk'); raise SystemExit(3)"], tmp_path, {}, tmp_path)
    service.start()
    with pytest.raises(UnimrError, match=r"The server ended\. It said last:\nno disk"):
        for _ in range(200):
            time.sleep(0.05)
            service.keep_running()


# Another server


def test_a_given_server_is_used_and_only_a_worker_is_started(server, factory_root, tmp_path):
    root = bare_copy(factory_root, tmp_path)
    made = start_ui(root, PREFECT_API_URL=server)
    try:
        assert "(worker)" in made.log
        commands = [" ".join(each.cmdline()) for each in psutil.Process(made.process.pid).children()]
        assert len(commands) == 1 and "worker start" in commands[0]
        with made.client() as client:
            step = client.read_deployment_by_name("pipeline/retrain").pull_steps[0]
            assert step["prefect.deployments.steps.set_working_directory"]["directory"] == str(root)
    finally:
        seconds, left = made.stop(signal.SIGTERM)
    assert (made.process.returncode, left) == (0, [])
    assert seconds < STOP_SECONDS * BUSY


# How it ends, and what comes back


def test_ctrl_c_ends_everything_and_a_run_keeps_its_checkpoint(running, tmp_path):
    with running.client() as client:
        run = run_sleeping(client, deploy_sleeping(client, running.root), tmp_path / "notes", seconds=300)
        wait_until(lambda: notes(tmp_path / "notes") == ["started"], 120)
    seconds, left = running.stop(signal.SIGINT)
    assert (running.process.returncode, left) == (0, [])
    assert seconds < STOP_SECONDS * BUSY
    assert notes(tmp_path / "notes") == ["started", "checkpoint"]
    assert running.log.endswith("Stopped.\n")
    again = start_ui(running.root)
    running.process, running.url = again.process, again.url
    with running.client() as client:
        state = client.read_flow_run(run.id).state
        assert (state.name, state.message) == ("Crashed", "Execution was aborted by a termination signal.")


def test_when_it_is_killed_itself_the_others_end_and_the_run_tells_the_next_server(running, tmp_path):
    with running.client() as client:
        run = run_sleeping(client, deploy_sleeping(client, running.root), tmp_path / "notes", seconds=300)
        wait_until(lambda: notes(tmp_path / "notes") == ["started"], 120)
    _, left = running.stop(signal.SIGKILL)
    assert notes(tmp_path / "notes") == ["started", "checkpoint"]
    assert ["prefect.engine" in each.cmdline() for each in left] in ([], [True])  # it waits for a server to tell
    again = start_ui(running.root, PREFECT_SERVER_API_PORT=running.url.split(":")[2].removesuffix("/api"))
    running.process = again.process
    with running.client() as client:
        wait_for_state(client, run, "Crashed", 200)
    assert psutil.wait_procs(left, timeout=TELL_SECONDS)[1] == []


@pytest.mark.slow
def test_a_run_whose_beginning_a_killed_server_forgot_has_crashed(running):
    """Nobody waits for a sign of life of it until the factory starts again."""
    with running.client() as client:
        run = client.create_flow_run_from_deployment(
            client.read_deployment_by_name("monitor/daily").id,
            state=Scheduled(scheduled_time=datetime.now(UTC) + timedelta(days=1)),
        )
        client.set_flow_run_state(run.id, Running(), force=True)
    running.stop(signal.SIGKILL)
    running.process = start_ui(
        running.root, PREFECT_SERVER_API_PORT=running.url.split(":")[2].removesuffix("/api")
    ).process
    with running.client() as client:
        wait_for_state(client, run, "Crashed", 120)
        assert client.read_flow_run(run.id).state.message.startswith("No sign of life")


@pytest.mark.slow
def test_a_run_survives_the_death_of_the_server(running, tmp_path):
    with running.client() as client:
        run = run_sleeping(client, deploy_sleeping(client, running.root), tmp_path / "notes", seconds=20)
        wait_until(lambda: notes(tmp_path / "notes") == ["started"], 120)
        running.find("flows.server").kill()
        wait_until(lambda: "The server died (status -9); it is started again." in running.log, 10)
        wait_for_health(running.url, 60)
        wait_for_state(client, run, "Completed", 200)
        assert notes(tmp_path / "notes") == ["started", "done"] * 2
        again = run_sleeping(client, run.deployment_id, tmp_path / "again", seconds=0.1)
        wait_for_state(client, again, "Completed", 200)


def wait_for_health(url: str, seconds: float) -> float:
    def healthy() -> bool:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):
                return True
        except OSError:
            return False

    return wait_until(healthy, seconds)


@pytest.mark.slow
def test_runs_survive_a_minute_without_the_server(factory_root, tmp_path):
    """One that ends meanwhile, and one that goes on."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    root = bare_copy(factory_root, tmp_path)
    server = start_server(root, port)
    made = None
    try:
        wait_for_health(url, START_SECONDS)
        made = start_ui(root, PREFECT_API_URL=url)
        with made.client() as client:
            places = {name: tmp_path / name for name in ("short", "long")}
            runs = [
                run_sleeping(
                    client, deploy_sleeping(client, root, name), place, seconds={"short": 15, "long": 60}[name]
                )
                for name, place in places.items()
            ]
            for place in places.values():
                wait_until(lambda place=place: notes(place) == ["started"], 120)
            server.kill()
            server.wait()
            time.sleep(60)
            server = start_server(root, port)
            wait_for_health(url, START_SECONDS)
            for run, place in zip(runs, places.values(), strict=True):
                wait_for_state(client, run, "Completed", 300)
                assert notes(place) == ["started", "done"] * 2
            again = run_sleeping(client, runs[0].deployment_id, tmp_path / "again", seconds=0.1)
            wait_for_state(client, again, "Completed", 200)
    finally:
        if made is not None:
            made.stop(signal.SIGTERM)
        server.terminate()
        server.wait()


def start_server(root: Path, port: int) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PREFECT_HOME": str(root / ".prefect"), "PREFECT_SERVER_API_PORT": str(port)}
    with (root / "server.log").open("a") as log:
        command = [sys.executable, "-m", "flows.server"]
        return subprocess.Popen(command, cwd=root, env=environment, stdout=log, stderr=subprocess.STDOUT)


@pytest.mark.slow
@pytest.mark.parametrize("victims", [["worker start"], ["worker start", "prefect.engine"]], ids=["worker", "both"])
def test_a_run_whose_worker_is_killed_has_crashed_and_the_next_goes_through(running, tmp_path, victims):
    with running.client() as client:
        run = run_sleeping(client, deploy_sleeping(client, running.root), tmp_path / "notes", seconds=600)
        wait_until(lambda: notes(tmp_path / "notes") == ["started"], 120)
        time.sleep(5)
        for process in [running.find(words) for words in victims]:
            process.kill()
        assert wait_for_state(client, run, "Crashed", 120) < 120
        wait_until(lambda: notes(tmp_path / "notes") == ["started", "checkpoint"], DIE_SECONDS)
        again = run_sleeping(client, run.deployment_id, tmp_path / "again", seconds=0.1)
        wait_for_state(client, again, "Completed", 200)


def test_the_command_is_in_the_makefile():
    shown = subprocess.run(["make", "-n", "ui"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "python -m flows.ui" in shown
