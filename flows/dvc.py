"""Running one stage of `dvc.yaml` as a process of its own, whose output is followed line by line.

DVC decides whether a stage runs. The process is this same file run as a program: DVC, with the promise that when it
is asked to end, or when the flow that started it dies in any way, everything it started has ended within
`GRACE_SECONDS`: first asked by SIGTERM, on which training saves a checkpoint, then by SIGKILL.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import yaml

from unimr.errors import UnimrError
from unimr.files import atomic_file
from unimr.processes import adopt_orphans, die_with_parent

GRACE_SECONDS = 8
"""From being asked to end to being killed."""
RETRY_SECONDS = 2.0
"""Between attempts while another process works on the same files."""
LOCK = Path(".work/pipeline.lock")

BUSY = re.compile(r"is busy, it is being blocked by:$|^ +\(PID (\d+)\): (.*)|^If there are no processes with such PIDs")
"""How DVC says that another DVC process works on the files of a stage, line by line."""
HINT = re.compile(r"^To track the changes with git|^\tgit add |^To enable auto staging|^\tdvc config |^Use `dvc push`")
"""What DVC tells a person at a terminal after each stage."""

OnLine = Callable[[str], None]


@dataclass(frozen=True)
class StageRun:
    """How a stage went: it "ran", was "restored" from the run cache, or was "unchanged"."""

    stage: str
    outcome: Literal["ran", "restored", "unchanged"]
    seconds: float

    @property
    def cached(self) -> bool:
        """Whether nothing had to be run."""
        return self.outcome != "ran"


def stages(root: Path = Path()) -> list[str]:
    """The stages of `dvc.yaml`, in the order they are written there, which is the order they run in.

    Raises:
        UnimrError: there is no `dvc.yaml`.
    """
    path = root / "dvc.yaml"
    if not path.exists():
        raise UnimrError(f"{path.absolute()} does not exist. Run the flow in the project folder.")
    return list(yaml.safe_load(path.read_text(encoding="utf-8"))["stages"])


@contextmanager
def only_writer(name: str, on_line: OnLine, root: Path = Path()) -> Iterator[None]:
    """Hold the right to change what the pipeline makes: one flow run at a time; others wait and say for whom.

    Args:
        name: of this flow run, told to those that wait.
        on_line: is told once for whom this one waits.
        root: the project folder.
    """
    path = root / LOCK
    path.parent.mkdir(exist_ok=True)
    with path.open("a+", encoding="utf-8") as lock:
        _wait_for(lock.fileno(), path, on_line)
        lock.truncate(0)
        lock.write(json.dumps({"process": os.getpid(), "run": name}))
        lock.flush()
        try:
            yield
        finally:
            lock.truncate(0)


def _wait_for(lock: int, path: Path, on_line: OnLine) -> None:
    told = None
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = path.read_text(encoding="utf-8")
            if holder and holder != told:
                known = json.loads(holder)
                on_line(f"Waiting for the run {known['run']!r} (process {known['process']}) to end")
                told = holder
            time.sleep(RETRY_SECONDS)
        else:
            return


def unchanged_stages(on_line: OnLine, root: Path = Path()) -> set[str]:
    """The stages that are up to date as everything stands, by one question to DVC instead of one a stage.

    Raises:
        UnimrError: DVC cannot tell, as where `dvc.yaml` is not valid.
    """
    lines = _when_free(["status", "--json"], lambda _: None, on_line, root, "The pipeline")
    changed = json.loads(next(line for line in lines if line.startswith("{")))
    return set(stages(root)) - set(changed)


def run_stage(stage: str, on_line: OnLine, force: bool = False, root: Path = Path()) -> StageRun:
    """Bring one stage up to date; `on_line` is given each line of output as it comes.

    While another DVC process works on the files of the stage, it waits and says for whom.

    Raises:
        UnimrError: the stage failed; the message is the one the stage ended with.
    """
    started = time.monotonic()

    def tell(line: str) -> None:
        if not BUSY.search(line) and not HINT.search(line):
            on_line(line)

    arguments = ["repro", "--single-item", *(["--force"] if force else []), stage]
    lines = _when_free(arguments, tell, on_line, root, f"The stage {stage}")
    return StageRun(stage, _outcome(lines), time.monotonic() - started)


def _when_free(arguments: list[str], tell: OnLine, on_line: OnLine, root: Path, what: str) -> list[str]:
    """Run DVC, again and again while it is kept off by another DVC process, and give its lines."""
    told = ""
    while True:
        status, lines = _run_dvc(["--wait-for-lock", *arguments], tell, root)
        if status == 0:
            return lines
        holders = _holders(lines)
        if not holders:
            raise UnimrError(f"{what} failed: {_reason(lines)}")
        if holders != told:
            on_line(f"{what} waits: its files are in use by {holders}")
            told = holders
        time.sleep(RETRY_SECONDS)


def _run_dvc(arguments: list[str], on_line: OnLine, root: Path) -> tuple[int, list[str]]:
    """Run DVC to its end and give its exit status and lines; nothing of it is left when this is left."""
    # -P: else this folder, which holds a `dvc.py`, would stand before the installed DVC on Python's path.
    program = [sys.executable, "-P", str(Path(__file__).absolute()), str(os.getpid()), *arguments]
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONUNBUFFERED": "1",
    }
    process = subprocess.Popen(
        program, cwd=root, env=environment, text=True, errors="replace", start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    lines = []
    # Told in a thread of its own: the exception that Prefect raises in this one on SIGTERM is lost where it strikes
    # inside the compiled part of a library, such as the one that writes a progress artifact as JSON.
    teller, context = ThreadPoolExecutor(1), copy_context()
    try:
        for line in process.stdout or ():
            lines.append(line.rstrip())
            if lines[-1]:
                teller.submit(context.run, on_line, lines[-1]).result()
        return process.wait(), lines
    finally:
        _end(process)
        teller.shutdown(wait=False, cancel_futures=True)


def _end(process: subprocess.Popen[str]) -> None:
    """End the process and all it started; it does so itself when asked, within the grace time."""
    process.terminate()
    try:
        process.wait(GRACE_SECONDS + 1)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.stdout:
        process.stdout.close()


def _outcome(lines: list[str]) -> Literal["ran", "restored", "unchanged"]:
    if any(line.startswith("Running stage '") for line in lines):
        return "ran"
    return "restored" if any("is cached - skipping run" in line for line in lines) else "unchanged"


def _holders(lines: list[str]) -> str:
    """The processes that DVC says it is blocked by; empty if it is not."""
    found = [match for line in lines if (match := BUSY.search(line)) and match[1]]
    return ", ".join(sorted({f"process {match[1]} ({match[2]})" for match in found}))


def _reason(lines: list[str]) -> str:
    """What the stage said last: its own `Error: ...` where there is one, without what DVC adds."""
    said = [line for line in lines if line.strip()]
    own = next((place for place, line in enumerate(said) if line.startswith("Error: ")), None)
    if own is None:
        return " / ".join(said[-3:])
    end = next((place for place, line in enumerate(said) if place > own and line.startswith("ERROR: ")), len(said))
    return " ".join(said[own:end]).removeprefix("Error: ")


def _main() -> None:
    """Be DVC, for the flow with the process number given as the first argument."""
    signal.signal(signal.SIGTERM, _end_all)
    die_with_parent()
    adopt_orphans()  # a stage whose shell died becomes a child of this process: it is waited for
    if os.getppid() != int(sys.argv[1]):  # the flow died before this process could ask to be told
        sys.exit(128 + signal.SIGTERM)
    from dvc import dvcfile
    from dvc.cli import main

    dvcfile.modify_yaml = _modify_in_one_step
    sys.argv = ["dvc", *sys.argv[2:]]  # DVC tells others by these words who holds a lock
    sys.exit(main(sys.argv[1:]))


@contextmanager
def _modify_in_one_step(path: str, **_: Any) -> Iterator[Any]:
    """What DVC writes `dvc.lock` with, but not in place: half of that file would stop every run after a kill."""
    from dvc.utils.serialize import modify_yaml

    with atomic_file(Path(path)) as temporary:
        if Path(path).exists():
            shutil.copyfile(path, temporary)
        with modify_yaml(temporary) as data:
            yield data


def _end_all(_number: int, _frame: FrameType | None) -> None:
    """Ask the whole process group to end, wait for it, and leave; those that do not end are killed, and this too."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, lambda *_: os.killpg(0, signal.SIGKILL))
    signal.alarm(GRACE_SECONDS)
    os.killpg(0, signal.SIGTERM)
    try:
        while True:
            os.wait()
    except ChildProcessError:
        sys.exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    _main()
