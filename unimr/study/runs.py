"""All runs of a study, several side by side, each a process of its own; what is done is not done again."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from unimr.errors import UnimrError
from unimr.study.result import Result
from unimr.study.run import ENGLISH_ONLY, result_path
from unimr.study.variants import ALL, UNIFIED

log = logging.getLogger(__name__)

UNTRAINED = ENGLISH_ONLY
"""Peers that are measured as they are: their seeds would all be the same."""


@dataclass(frozen=True)
class Run:
    """One variant or peer with one seed."""

    name: str
    seed: int


def planned(names: list[str], seeds: int) -> list[Run]:
    """Every run of the study, the seeds of all names in turn, so that a study cut short has whole rounds.

    Raises:
        UnimrError: `unified`, with which all others are compared, is missing, or a library that a peer needs.
    """
    if UNIFIED not in names:
        raise UnimrError(f"study.variants lacks {UNIFIED!r}, with which all others are compared. Add it.")
    for name in names:
        missing = [module for module in ALL[name].needs if find_spec(module) is None] if name in ALL else []
        if missing:
            raise UnimrError(
                f"The peer `{name}` needs what is not installed: {', '.join(missing)}. Run `make study`, which "
                "installs requirements-study.lock, or leave the peer out of study.peers."
            )
    return [Run(name, seed) for seed in range(seeds) for name in names if seed == 0 or name not in UNTRAINED]


def run_all(
    runs: list[Run], root: Path, profile: str, work: Path, jobs: int, tell: Callable[[str], object] = log.info
) -> None:
    """Make the results that are not there yet, `jobs` at a time; `tell` is given a line for each.

    Raises:
        UnimrError: a run failed; the results of the others are kept.
    """
    missing = [each for each in runs if not result_path(root, profile, each.name, each.seed, work).exists()]
    tell(f"{len(runs) - len(missing)} of {len(runs)} runs are done")
    with ThreadPoolExecutor(jobs) as pool:
        waiting = {pool.submit(_run, each, root, profile, work): each for each in missing}
        try:
            for number, done in enumerate(as_completed(waiting), 1):
                each, seconds = waiting[done], done.result()
                tell(f"{each.name}, seed {each.seed}: {seconds:.0f} s ({number} of {len(missing)})")
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _run(each: Run, root: Path, profile: str, work: Path) -> float:
    """Seconds of one run, in a process of one thread: side by side, several of them would wait for each other."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "unimr.study.run", str(root), profile, each.name, str(each.seed), str(work)]
    environment = os.environ | {"UNIMR_THREADS": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise UnimrError(
            f"The run {each.name}, seed {each.seed}, failed: {said[-1].removeprefix('Error: ')} "
            "The results of the others are kept: run `unimr study` again when this is mended."
        )
    return time.perf_counter() - started


def read_all(runs: list[Run], root: Path, profile: str, work: Path) -> dict[str, list[Result]]:
    """The results of all runs: name → one a seed, in their order."""
    found: dict[str, list[Result]] = {}
    for each in runs:
        found.setdefault(each.name, []).append(Result.read(result_path(root, profile, each.name, each.seed, work)))
    return found
