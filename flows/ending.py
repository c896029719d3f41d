"""How a run ends when its worker is gone: soon, and not before it has told the server."""

from __future__ import annotations

import os
import sys

from rich.console import Console

from unimr.processes import end_after_parent


def end_with_worker() -> None:
    """Ask to be sent SIGTERM when the worker dies, and live on without the reader of what is printed.

    Every flow begins with it. The worker reads what its runs print; rich, with which Prefect prints, ends the process
    at the first line that nobody reads any more, and that line is the one that says that the run has crashed: the
    server would never hear of it.
    """
    end_after_parent()
    Console.on_broken_pipe = _print_no_more  # type: ignore[method-assign]  # Prefect makes its consoles itself


def _print_no_more(self: Console) -> None:
    self.quiet = True
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())
