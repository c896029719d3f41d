"""What a process asks of Linux: the processes around it, and its memory; on other systems nothing is asked."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from functools import cache

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # of mallopt(3)
LOOK_SECONDS = 0.2
"""Between two looks for the parent."""


def die_with_parent(number: signal.Signals = signal.SIGTERM) -> None:
    """Ask to be sent a signal when the parent dies, so that no process is left running alone."""
    _prctl(PR_SET_PDEATHSIG, number)


@cache
def end_after_parent() -> None:
    """See to it that this process is sent SIGTERM once when its parent is gone.

    With `die_with_parent` it comes at the end of every thread of the parent that the process is handed on to, so twice
    within a millisecond. Where SIGTERM raises an exception, the second one strikes what the first has made tidy up.
    """
    threading.Thread(target=_end_after, args=(os.getppid(),), name="end after parent", daemon=True).start()


def _end_after(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


def adopt_orphans() -> None:
    """Ask to become the parent of every process below this one whose parent dies, so that none is lost sight of."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def bury_orphans(own: set[int]) -> None:
    """Wait for adopted processes that have ended: until then others, such as DVC with its locks, take them for alive.

    Args:
        own: process numbers of children that somebody else waits for.
    """
    if sys.platform != "linux":
        return
    try:
        while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and ended.si_pid not in own:
            os.waitpid(ended.si_pid, 0)
    except ChildProcessError:  # there are no children at all
        return


def keep_memory() -> None:
    """Keep freed memory instead of giving it back at once: asking for it again at every step takes a tenth of it."""
    libc = ctypes.CDLL(None)
    if sys.platform == "linux" and hasattr(libc, "mallopt"):
        for option, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 64 * 2**20)):
            libc.mallopt(option, value)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value)
