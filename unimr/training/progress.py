"""How far a run is: a bar when a terminal looks on, plain lines when not."""

from __future__ import annotations

import logging
import sys
import time
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

log = logging.getLogger(__name__)

LINES = 20
"""About so many log lines a run."""
WARM_UP_STEPS = 10
"""Steps left out of the speed: the first ones allocate and compile."""


class Progress:
    """Counts samples and time of a run and reports losses, speed, data waiting, learning rate and time left.

    Args:
        stage: what is trained.
        steps: steps of the whole run.
        first: steps that were done before.
        devices: processes that share each batch, a device each.
        shown: False in all processes but one.
    """

    def __init__(self, stage: str, steps: int, first: int, devices: int = 1, shown: bool = True) -> None:
        self.stage, self.steps, self.first, self.devices = stage, steps, first, devices
        self.shown = shown
        self.samples, self.waited = 0, 0.0
        self.started = time.perf_counter()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.bar = Bar(
            *columns, console=Console(stderr=True), transient=True, disable=not (shown and sys.stderr.isatty())
        )
        self.task = self.bar.add_task(stage, total=steps, completed=first)

    def __enter__(self) -> Self:
        self.bar.start()
        if self.first and self.shown:
            log.info("%s: going on after step %d of %d", self.stage, self.first, self.steps)
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def update(self, step: int, report: dict[str, float], samples: int, waited: float, rate: float) -> None:
        """Take in one step; `waited` are the seconds the batch took to make."""
        self.samples += samples
        self.waited += waited
        self.bar.update(self.task, completed=step + 1, description=self._losses(report))
        if self.shown and (step + 1) % max(1, self.steps // LINES) == 0:
            log.info("%s", self._line(step, report, rate))
        if step + 1 - self.first == WARM_UP_STEPS:
            self.samples, self.waited, self.started = 0, 0.0, time.perf_counter()

    def _line(self, step: int, report: dict[str, float], rate: float) -> str:
        seconds = time.perf_counter() - self.started
        done = max(1, step + 1 - self.first - (WARM_UP_STEPS if step + 1 - self.first > WARM_UP_STEPS else 0))
        left = seconds / done * (self.steps - step - 1)
        speed = self.samples / seconds
        return (
            f"{self._losses(report)}  step {step + 1}/{self.steps}  {speed:,.0f} samples/s  "
            f"{speed / self.devices:,.0f} samples/s/device  data {self.waited / seconds:.1%}  "
            f"lr {rate:.2e}  {left:.0f} s left"
        )

    def _losses(self, report: dict[str, float]) -> str:
        return f"{self.stage} " + " ".join(f"{name} {value:.3f}" for name, value in report.items())
