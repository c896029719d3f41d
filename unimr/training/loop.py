"""The one training loop: forward, backward, step, log, checkpoint. It knows tasks, no modality.

The state after step n is a function of the parameters, the data and n alone: every batch and every random number
comes from (seed, step). A run that is killed and started again therefore ends with the same bytes as one that never
was. Several processes (`accelerate launch`) take the same steps as one, up to the rounding of sums; the main process
writes.
"""

from __future__ import annotations

import logging
import math
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Protocol, TypeVar

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn
from torch.optim import Optimizer

from unimr.errors import UnimrError
from unimr.model.hf import hf_encoders
from unimr.params import TrainParams
from unimr.processes import keep_memory
from unimr.training.checkpoint import load_checkpoint, save_checkpoint
from unimr.training.device import THREADS, mixed_precision
from unimr.training.distributed import (
    anywhere,
    average_gradients,
    main_process_first,
    normalise_globally,
    process_count,
    process_index,
    require_same,
    wait_for_all,
)
from unimr.training.optim import RowwiseAdagrad, parameter_groups, schedule
from unimr.training.progress import Progress

log = logging.getLogger(__name__)

CLIP_NORM = 5.0
STOPPED_BY_SIGTERM = 143


Batch = TypeVar("Batch")


class Task(Protocol[Batch]):
    """What a stage trains: a module, its batches and its losses."""

    @property
    def module(self) -> nn.Module:
        """Everything that is trained and saved."""

    def batch(self, rng: np.random.Generator) -> Batch:
        """The batch drawn with this generator."""

    def __call__(self, batch: Batch) -> tuple[torch.Tensor, dict[str, float], int]:
        """Loss to minimise, what to report of it, and how many samples the batch held."""

    def table(self) -> list[nn.Parameter]:
        """Parameters with sparse gradients."""


@dataclass(frozen=True)
class Rates:
    """Peak learning rates of the dense parameters and of the sparse table."""

    dense: float
    table: float


def train(task: Task[Batch], params: TrainParams, work: Path, rates: Rates) -> Accelerator:
    """Train `task.module` in place for `params.steps` steps, resuming from `work` if it holds a checkpoint.

    Raises:
        UnimrError: the loss or the gradient is not finite, or another process ended; the last good checkpoint is kept.
        SystemExit: SIGTERM arrived; the state was saved first.
    """
    work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(THREADS)
    keep_memory()
    accelerator = Accelerator(mixed_precision=mixed_precision())
    encoders = hf_encoders(task.module)
    for encoder in encoders:
        encoder.begin_training()
    task.module.to(accelerator.device).train()
    if process_count() > 1:
        normalise_globally(task.module)
    optimizers = _optimizers(task, params, rates)
    first = _resume(task, work, optimizers, accelerator.device)
    progress = Progress(work.parent.name, params.steps, first, process_count(), process_index() == 0)
    batches = _batches(task, params, first, ahead=accelerator.device.type == "cuda")
    with _sigterm() as stop, progress:
        for step in range(first, params.steps):
            _set_rates(optimizers, rates, schedule(step, params.steps, params.warmup_steps))
            started = time.perf_counter()
            batch = next(batches)
            waited = time.perf_counter() - started
            torch.manual_seed(params.seed * 1_000_003 + step)
            report, samples = _step(task, batch, accelerator, optimizers, step)
            progress.update(step, report, samples, waited, optimizers[0].param_groups[0]["lr"])
            done = step + 1
            stopped = stop.asked if process_count() == 1 else anywhere(stop.asked, accelerator.device)
            due = done % params.checkpoint_every == 0 or stopped or done == params.steps
            if due and process_index() == 0:
                save_checkpoint(work, done, task.module, optimizers, process_count())
            if stopped:
                if process_index() == 0:
                    log.warning("Stopped by SIGTERM after step %d; the next run goes on from there.", done)
                raise SystemExit(STOPPED_BY_SIGTERM)
    for encoder in encoders:
        encoder.end_training()
    wait_for_all()
    task.module.eval()
    return accelerator


def _batches(task: Task[Batch], params: TrainParams, first: int, ahead: bool) -> Iterator[Batch]:
    """The batches of all steps from the first; `ahead`: each is drawn while the GPU computes the step before."""

    def draw(step: int) -> Batch:
        return task.batch(np.random.default_rng([params.seed, step]))

    if not ahead:
        yield from map(draw, range(first, params.steps))
        return
    with ThreadPoolExecutor(1) as thread:
        drawn = thread.submit(draw, first)
        for step in range(first + 1, params.steps):
            batch = drawn.result()
            drawn = thread.submit(draw, step)
            yield batch
        yield drawn.result()


def _resume(task: Task[Batch], work: Path, optimizers: list[Optimizer], device: torch.device) -> int:
    """Load the newest checkpoint, the main process first, since it removes damaged ones; the number of steps done."""
    with main_process_first():
        first = load_checkpoint(work, task.module, optimizers, process_count())
    if process_count() > 1:
        require_same(f"{work.name} {first}", "Code, parameters, data or checkpoints", device)
    return first


def _optimizers(task: Task[Batch], params: TrainParams, rates: Rates) -> list[Optimizer]:
    table = task.table()
    dense = [value for value in task.module.parameters() if value.requires_grad and all(value is not t for t in table)]
    scales = {value: scale for encoder in hf_encoders(task.module) for value, scale in encoder.rate_scales()}
    groups = parameter_groups(dense, scales)
    adamw = torch.optim.AdamW(groups, lr=rates.dense, weight_decay=params.weight_decay)
    return [adamw, RowwiseAdagrad(table, lr=rates.table)] if table else [adamw]


def _set_rates(optimizers: list[Optimizer], rates: Rates, factor: float) -> None:
    for optimizer, rate in zip(optimizers, (rates.dense, rates.table), strict=False):
        for group in optimizer.param_groups:
            group["lr"] = rate * factor * group.get("scale", 1.0)


def _step(
    task: Task[Batch], batch: Batch, accelerator: Accelerator, optimizers: list[Optimizer], step: int
) -> tuple[dict[str, float], int]:
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    with accelerator.autocast():
        loss, report, samples = task(batch)
    _require_finite(loss, "loss", step, batch)
    accelerator.backward(loss)
    if process_count() > 1:
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        average_gradients([value for group in groups for value in group["params"]])
    groups = optimizers[0].param_groups
    dense = [value for group in groups for value in group["params"] if value.grad is not None]
    _require_finite(nn.utils.clip_grad_norm_(dense, CLIP_NORM), "gradient", step, batch)
    for optimizer in optimizers:
        optimizer.step()
    return report, samples


def _require_finite(value: torch.Tensor, what: str, step: int, batch: object) -> None:
    number = float(value.detach())
    if not math.isfinite(number):
        raise UnimrError(
            f"The {what} became {number} at step {step}; training stopped before the weights changed and the "
            f"last checkpoint is kept. The batch was {batch}. Lower the learning rate of this stage in params.yaml, or "
            "look for broken rows among these."
        )


@dataclass
class _Stop:
    asked: bool = False


@contextmanager
def _sigterm() -> Iterator[_Stop]:
    """Turn SIGTERM into a wish that the loop grants after the step in hand."""
    stop = _Stop()

    def ask(_number: int, _frame: FrameType | None) -> None:
        stop.asked = True

    previous = signal.signal(signal.SIGTERM, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, previous)
