"""`make ui`: Prefect's server, the deployments and a worker in the foreground, until Ctrl-C.

Everything is kept in `.prefect/`. With PREFECT_API_URL set, that server is used and none is started here. A server or
worker that dies is started again. Whatever ends this process ends the others too, in this order: the worker, which
ends its runs and says so to the server, then the server, then what may be left.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import typer

from flows.services import STOP_SECONDS, Service, end_all
from unimr.config import load_params
from unimr.errors import UnimrError
from unimr.processes import adopt_orphans, bury_orphans, die_with_parent

ROOT = Path(__file__).resolve().parents[1]
"""The project folder."""
HOME = ROOT / ".prefect"
HOST = "127.0.0.1"
DEFAULT_PORT = 4200
START_SECONDS = 180
"""After which a server that does not answer is given up: the first start on a busy machine makes the database."""
CHECK_SECONDS = 0.5


def main() -> int:
    """Run until a signal comes; returns the exit status."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.set())
    adopt_orphans()
    if "MAKELEVEL" in os.environ:  # started by make, it ends with make
        die_with_parent()
    url = os.environ.get("PREFECT_API_URL")
    try:
        port = _port()
        with only_one(url or f"http://{HOST}:{port}/api"):
            run(url, port, stop)
    except UnimrError as error:
        typer.secho(f"Error: {error}", fg=typer.colors.RED, err=True)
        return 1
    return 0


def run(given: str | None, port: int, stop: threading.Event) -> None:
    """Start everything, keep it running until `stop`, then end everything.

    Args:
        given: the API of the server to use; None starts one.
        port: where to start it.
        stop: set to end.

    Raises:
        UnimrError: something could not be started, or does not stay up.
    """
    params = load_params(ROOT).deploy
    url = given or f"http://{HOST}:{port}/api"
    environment = _environment(url, port)
    services: list[Service] = []
    started = time.monotonic()
    try:
        if given is None:
            wait_for_port(port, stop)
            services.append(Service("server", ["-m", "flows.server"], ROOT, environment, HOME / "logs"))
            services[-1].start()
        wait_until_healthy(url, services, stop)
        deploy(environment, stop)
        if params.work_pool_type == "process":
            command = ["-m", "prefect", "worker", "start", "--type", "process", "--install-policy", "never"]
            command += ["--pool", params.work_pool, "--name", socket.gethostname()]
            services.append(Service("worker", command, ROOT, environment, HOME / "logs"))
            services[-1].start()
        if not stop.is_set():
            say_what_next(url, [service.name for service in services], time.monotonic() - started)
        while not stop.wait(CHECK_SECONDS):
            for service in services:
                service.keep_running()
            bury_orphans({service.pid for service in services if service.pid})
    finally:
        typer.echo("Stopping: running flows are ended, training keeps its checkpoint ...")
        for service in reversed(services):
            service.stop()
        end_all(psutil.Process().children(recursive=True), STOP_SECONDS)
        typer.echo("Stopped.")


def _port() -> int:
    text = os.environ.get("PREFECT_SERVER_API_PORT", str(DEFAULT_PORT))
    if not text.isdecimal() or not 0 < int(text) < 65_536:
        raise UnimrError(f"PREFECT_SERVER_API_PORT is {text!r}; it must be a port number, such as {DEFAULT_PORT}.")
    return int(text)


def _environment(url: str, port: int) -> dict[str, str]:
    """What server, worker and flows are started with."""
    return os.environ | {
        "PREFECT_API_URL": url,
        "PREFECT_HOME": str(HOME),
        "PREFECT_SERVER_API_HOST": HOST,
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_LOGGING_COLORS": "false",
        "DO_NOT_TRACK": "1",
        "PYTHONUNBUFFERED": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }


@contextmanager
def only_one(url: str) -> Iterator[None]:
    """Hold the right to be the one that runs in this folder.

    Raises:
        UnimrError: another one runs; the message names its address and process.
    """
    HOME.mkdir(exist_ok=True)
    with (HOME / "ui.lock").open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            other = json.loads(lock.read() or "{}")
            raise UnimrError(
                f"It runs already, as process {other.get('process')}: {_page(other.get('url', ''))} "
                "Open that, or end it with Ctrl-C where it was started."
            ) from error
        lock.truncate(0)
        lock.write(json.dumps({"process": os.getpid(), "url": url}))
        lock.flush()
        yield


def wait_for_port(port: int, stop: threading.Event, seconds: float = 6) -> None:
    """Wait until nothing listens on the port; a server that was just killed may need a moment to go.

    Raises:
        UnimrError: something else keeps it.
    """
    deadline = time.monotonic() + seconds
    while not stop.is_set():
        with socket.socket() as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind((HOST, port))
            except OSError as error:
                if time.monotonic() > deadline:
                    raise UnimrError(
                        f"Port {port} of {HOST} is used by another program. End that program, or choose another port: "
                        f"PREFECT_SERVER_API_PORT={port + 1} make ui"
                    ) from error
            else:
                return
        stop.wait(CHECK_SECONDS)


def wait_until_healthy(url: str, services: list[Service], stop: threading.Event) -> None:
    """Wait until the server answers; one that was not started here has to answer at once.

    Raises:
        UnimrError: it does not.
    """
    deadline = time.monotonic() + (START_SECONDS if services else 0)
    while not stop.is_set():
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=5):
                return
        except (urllib.error.URLError, OSError, ValueError) as error:
            if time.monotonic() > deadline:
                raise UnimrError(
                    f"The Prefect server {url} does not answer ({error}). Start it, or unset PREFECT_API_URL to run "
                    "one here."
                ) from error
        for service in services:
            service.check()
        stop.wait(CHECK_SECONDS)


def deploy(environment: dict[str, str], stop: threading.Event) -> None:
    """Make or bring up to date pool, deployments and automations, in a process of its own.

    Raises:
        UnimrError: that failed; the message is its own.
    """
    if stop.is_set():
        return
    command = [sys.executable, "-m", "flows.deploy"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UnimrError(f"The deployments could not be made: {done.stderr.strip().removeprefix('Error: ')}")


def say_what_next(url: str, names: list[str], seconds: float) -> None:
    """Print the addresses, and what to do with them."""
    typer.echo(f"Ready after {seconds:.0f} s ({' and '.join(names) or 'deployments only'}).\n")
    typer.echo(f"  Page         {_page(url)}")
    typer.echo(f"  API          {url}")
    typer.echo(f"  Logs         {HOME / 'logs'}\n")
    typer.echo("Next: open the page, choose Deployments, and run `retrain` (Run → Quick run). Ctrl-C stops everything.")
    if "worker" not in names:
        typer.echo("Runs wait for a worker: start one where they shall run (docs/operations.md).")


def _page(url: str) -> str:
    return url.removesuffix("/api")


if __name__ == "__main__":
    sys.exit(main())
