"""Running one stage of `dvc.yaml` as a process of its own, whose output is followed line by line.

DVC decides whether a stage runs. The process is this same file run as a program: DVC, with the promise that when it
is asked to end, or when the flow that started it dies in any way, everything it started has ended within
`GRACE_SECONDS`: first asked by SIGTERM, on which training saves a checkpoint, then by SIGKILL.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Literal

import yaml

from unimr.errors import UnimrError

GRACE_SECONDS = 8
"""From being asked to end to being killed."""
RETRY_SECONDS = 2.0
"""Between attempts while another DVC process works on the same files."""
REMEMBERED_LINES = 40

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


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


def run_stage(stage: str, on_line: Callable[[str], None], force: bool = False, root: Path = Path()) -> StageRun:
    """Bring one stage up to date; `on_line` is given each line of output as it comes.

    While another DVC process works on the files of the stage, it waits and says for whom.

    Raises:
        UnimrError: the stage failed; the message is the one the stage ended with.
    """
    started = time.monotonic()
    command = ["--wait-for-lock", "repro", "--single-item", *(["--force"] if force else []), stage]
    while True:
        status, lines = _run_dvc(command, on_line, root)
        if status == 0:
            return StageRun(stage, _outcome(lines), time.monotonic() - started)
        holders = _holders(lines)
        if not holders:
            raise UnimrError(f"Stage {stage} failed: {_reason(lines)}")
        on_line(f"{stage} waits: its files are in use by {holders}")
        time.sleep(RETRY_SECONDS)


def _run_dvc(arguments: list[str], on_line: Callable[[str], None], root: Path) -> tuple[int, list[str]]:
    """Run DVC to its end and give its exit status and last lines; nothing of it is left when this is left."""
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
    last: deque[str] = deque(maxlen=REMEMBERED_LINES)
    try:
        for line in process.stdout or ():
            text = line.rstrip()
            last.append(text)
            if text:
                on_line(text)
        return process.wait(), list(last)
    finally:
        _end(process)


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
    text = "\n".join(lines)
    if "is busy, it is being blocked by" not in text:
        return ""
    found = re.findall(r"\(PID (\d+)\): (.*)", text)
    return ", ".join(f"process {number} ({Path(command).name})" for number, command in dict(found).items())


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
    if sys.platform == "linux":
        prctl = ctypes.CDLL(None).prctl
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        prctl(PR_SET_CHILD_SUBREAPER, 1)  # a process whose shell died becomes a child of this one: it is waited for
    if os.getppid() != int(sys.argv[1]):  # the flow died before this process could ask to be told
        sys.exit(128 + signal.SIGTERM)
    from dvc.cli import main

    sys.exit(main(sys.argv[2:]))


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
