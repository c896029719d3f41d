"""Processes that are kept running: started, followed, started again when they die, and ended with all they started."""

from __future__ import annotations

import functools
import logging
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from logging.handlers import RotatingFileHandler
from pathlib import Path

import psutil
import typer

from unimr.errors import UnimrError
from unimr.processes import die_with_parent

IMPORTANT = re.compile(r"\| (WARNING|ERROR|CRITICAL) +\||Beginning flow run|Finished in state")
SHOWN_CHARACTERS = 240
"""Of a line on the terminal; the log file has all of it."""
LOG_BYTES = 10 * 2**20
RUN_SECONDS = 10.0
"""From SIGTERM to SIGKILL for what a service started: training saves its checkpoint, the run says how it ended."""
STOP_SECONDS = 3.0
"""The same for the service itself, after that."""
SOON_SECONDS = 20.0
"""A process that dies sooner after its start ..."""
GIVE_UP = 4
"""... so many times in a row is not started again."""


class Service:
    """A Python process that is kept running; its lines go to a log file, the important ones to the terminal too."""

    def __init__(self, name: str, arguments: list[str], folder: Path, environment: dict[str, str], logs: Path) -> None:
        self.name = name
        self._command = [sys.executable, *arguments]
        self._folder, self._environment = folder, environment
        self._last: deque[str] = deque(maxlen=10)
        self._process: subprocess.Popen[str] | None = None
        self._started = 0.0
        self._early_deaths = 0
        self._log = _file_log(name, logs)

    def start(self) -> None:
        """Start it; it is killed when this process dies in any way.

        With SIGTERM a worker whose server has gone too hangs while it ends, and what it runs is never told.
        """
        self._started = time.monotonic()
        self._process = subprocess.Popen(
            self._command, cwd=self._folder, env=self._environment, text=True, errors="replace",
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True, preexec_fn=functools.partial(die_with_parent, signal.SIGKILL),
        )  # fmt: skip
        threading.Thread(target=self._follow, args=(self._process,), daemon=True).start()

    def _follow(self, process: subprocess.Popen[str]) -> None:
        for line in process.stdout or ():
            text = line.rstrip()
            self._last.append(text)
            self._log.info(text)
            if IMPORTANT.search(text):
                typer.echo(f"[{self.name}] {text[:SHOWN_CHARACTERS]}")

    @property
    def pid(self) -> int | None:
        """Its process number; None before the first start."""
        return self._process.pid if self._process else None

    def check(self) -> None:
        """Make sure that it runs.

        Raises:
            UnimrError: it has ended; the message holds its last lines.
        """
        if self._process is None or self._process.poll() is not None:
            raise UnimrError(f"The {self.name} ended. It said last:\n" + "\n".join(self._last))

    def keep_running(self) -> None:
        """Start it again if it has died.

        Raises:
            UnimrError: it dies again and again soon after its start.
        """
        if self._process is None or self._process.poll() is None:
            return
        early = time.monotonic() - self._started < SOON_SECONDS
        self._early_deaths = self._early_deaths + 1 if early else 0
        if self._early_deaths >= GIVE_UP:
            self.check()
        typer.echo(f"The {self.name} died (status {self._process.returncode}); it is started again.")
        self.start()

    def stop(self) -> None:
        """End what it started, then itself.

        In this order, since a worker that is ended kills its runs before they can tell the server.
        """
        if self._process is None or self._process.poll() is not None:
            return
        process = psutil.Process(self._process.pid)
        end_all(process.children(), RUN_SECONDS)
        end_all([process], STOP_SECONDS)


def end_all(processes: list[psutil.Process], seconds: float) -> None:
    """End processes by SIGTERM, and by SIGKILL those that do not go in time."""
    for process in processes:
        _signal(process, signal.SIGTERM)
    for process in psutil.wait_procs(processes, timeout=seconds)[1]:
        _signal(process, signal.SIGKILL)


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def _file_log(name: str, folder: Path) -> logging.Logger:
    folder.mkdir(parents=True, exist_ok=True)
    log = logging.Logger(name)
    log.addHandler(RotatingFileHandler(folder / f"{name}.log", maxBytes=LOG_BYTES, backupCount=2, encoding="utf-8"))
    return log
