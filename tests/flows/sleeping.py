"""A flow of stages that sleep, for what happens to a run when processes around it die."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.ending import end_with_worker

STAGE = """
import signal, sys, time
from pathlib import Path
from unimr.processes import die_with_parent
die_with_parent()
notes = Path(sys.argv[1])
def leave(*_):
    notes.open("a").write("checkpoint\\n")
    sys.exit(1)
signal.signal(signal.SIGTERM, leave)
notes.open("a").write("started\\n")
time.sleep(float(sys.argv[2]))
notes.open("a").write("done\\n")
"""


@flow(name="sleeping")
def sleeping(notes: str, seconds: float = 1.0, stages: int = 2, fails: bool = False) -> None:
    """Sleep in `stages` processes, one after another; each writes down what becomes of it."""
    end_with_worker()
    for _ in range(stages):
        sleep(notes, seconds)
    if fails:
        raise RuntimeError("it was told to fail")


@task(cache_policy=NO_CACHE)
def sleep(notes: str, seconds: float) -> None:
    """One process that sleeps."""
    process = subprocess.Popen([sys.executable, "-c", STAGE, str(Path(notes)), str(seconds)])
    try:
        process.wait()
    finally:
        process.terminate()
        process.wait()
