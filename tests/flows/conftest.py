"""A Prefect server for the tests of this folder, and the whole factory as real processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import psutil
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings
from prefect.testing.utilities import prefect_test_harness

from flows import deploy
from flows.deploy import ensure_deployment
from flows.deployments import Deployment
from tests.system.checkout import checkout
from unimr.config import load_params

from .sleeping import sleeping

START_SECONDS = 240
"""A busy machine takes its time."""


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """A Prefect server without the services that run things; gives the address of its API."""
    with prefect_test_harness(server_startup_timeout=START_SECONDS):
        yield str(get_current_settings().api.url)


@pytest.fixture
def client(server) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as opened:
        yield opened


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return trial.getsockname()[1]


def wait_until(holds: Callable[[], bool], seconds: float) -> float:
    """Seconds until something holds."""
    started = time.monotonic()
    while not holds():
        assert time.monotonic() - started < seconds, f"not within {seconds} s"
        time.sleep(0.2)
    return time.monotonic() - started


@dataclass
class Factory:
    """`make ui` in a project folder of its own."""

    root: Path
    process: subprocess.Popen[str]
    url: str

    @property
    def log(self) -> str:
        return (self.root / "ui.log").read_text(encoding="utf-8")

    def find(self, words: str) -> psutil.Process:
        """The process below it whose command line holds these words."""
        for process in psutil.Process(self.process.pid).children(recursive=True):
            if process.status() != psutil.STATUS_ZOMBIE and words in " ".join(process.cmdline()):
                return process
        raise AssertionError(f"no process {words}")

    def stop(self, number: int) -> tuple[float, list[psutil.Process]]:
        """Send it a signal; gives how long it took, and which of its processes go on after another 30 seconds."""
        below = psutil.Process(self.process.pid).children(recursive=True)
        started = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(60)
        seconds = time.monotonic() - started
        left = psutil.wait_procs(below, timeout=30)[1]
        return seconds, [each for each in left if each.status() != psutil.STATUS_ZOMBIE]  # not every init buries them

    @contextmanager
    def client(self) -> Iterator[SyncPrefectClient]:
        with temporary_settings({PREFECT_API_URL: self.url}), get_client(sync_client=True) as opened:
            yield opened


def start_ui(root: Path, *, check: bool = True, **environment: str) -> Factory:
    """Start it, and with `check` wait until it is ready."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MAKE"))}
    port = environment.setdefault("PREFECT_SERVER_API_PORT", str(free_port()))
    url = environment.get("PREFECT_API_URL", f"http://127.0.0.1:{port}/api")
    path = os.pathsep.join(filter(None, [str(root), clean.get("PYTHONPATH")]))
    with (root / "ui.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.ui"], cwd=root, env=clean | {"PYTHONPATH": path} | environment,
            stdout=log, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
    made = Factory(root, process, url)
    if check:
        wait_until(lambda: "Ready after" in made.log or process.poll() is not None, START_SECONDS)
        assert process.poll() is None, made.log
    return made


@pytest.fixture(scope="session")
def factory_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of the project with profile `ci`, in which nothing has run yet."""
    return checkout(tmp_path_factory.mktemp("factory")).root


@pytest.fixture(scope="module")
def factory(factory_root: Path) -> Iterator[Factory]:
    """The factory, running; a test that ends it starts it again."""
    made = start_ui(factory_root)
    yield made
    if made.process.poll() is None:
        made.stop(15)


def deploy_sleeping(client: SyncPrefectClient, root: Path, name: str = "test") -> UUID:
    """Deploy the flow `sleeping` to the work pool of a factory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deploy, "ROOT", root)
        return ensure_deployment(client, Deployment(name, sleeping, "Sleeps."), load_params(root).deploy)


def run_sleeping(client: SyncPrefectClient, deployment: UUID, notes: Path, **parameters: object) -> FlowRun:
    return client.create_flow_run_from_deployment(deployment, parameters={"notes": str(notes), **parameters})


def wait_for_state(client: SyncPrefectClient, run: FlowRun, name: str, seconds: float = 120) -> float:
    """Seconds until a run is in the state of this name."""

    def reached() -> bool:
        state = client.read_flow_run(run.id).state
        assert state is not None
        assert state.name == name or not state.is_final(), f"{state.name}: {state.message}"
        return state.name == name

    return wait_until(reached, seconds)
