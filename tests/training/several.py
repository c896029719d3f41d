"""Steps of a stage, taken by one process or several: losses and gradients, left in a folder by each of them.

    python -m tests.training.several PROJECT STAGE OUT section.key=value ...

In the way of `torchrun` and `accelerate launch`, RANK, WORLD_SIZE and MASTER_ADDR say which process this is.
"""

from __future__ import annotations

import json
import math
import os
import socket
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from tests.training.small_project import PATIENCE, PROCESSES
from unimr.config import load_params
from unimr.training import loop, stages

Step = dict[str, torch.Tensor]
"""Losses `[steps]`, and after the last step the gradients (not clipped) and the buffers, by name."""


def take_steps(root: Path, stage: str, out: Path, overrides: dict[str, object], stop_after: int = 0) -> None:
    """Train a stage in float32 and leave a `Step`; or stop after a checkpoint, as if killed."""
    loop.CLIP_NORM = math.inf
    loop.mixed_precision = lambda: "no"
    require_finite, save_checkpoint, losses = loop._require_finite, loop.save_checkpoint, []

    def note(value, what, step, batch):
        if what == "loss":
            losses.append(value.detach())
        require_finite(value, what, step, batch)

    def save(work, step, *rest):
        save_checkpoint(work, step, *rest)
        if step == stop_after:
            raise SystemExit(0)

    def train(task, params, work, rates):
        loop.train(task, params, work, rates)
        named = task.module.named_parameters()
        left = {name: value.grad.to_dense() for name, value in named if value.grad is not None}
        left |= {f"buffer {name}": value for name, value in task.module.named_buffers()}
        left = {name: value.contiguous() for name, value in left.items()} | {"loss": torch.stack(losses)}
        save_file(left, out / f"{os.environ.get('RANK', '0')}.safetensors")
        raise SystemExit(0)

    loop._require_finite, loop.save_checkpoint, stages.train = note, save, train
    getattr(stages, f"run_{stage}")(load_params(root, overrides), root)


def _as_process(rank: int, count: int, port: int, target, args) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    target(*args)


def run_processes(count: int, target, *args) -> list[int]:
    """Run a function in `count` processes that know of each other; their exit codes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = [PROCESSES.Process(target=_as_process, args=(rank, count, port, target, args)) for rank in range(count)]
    for process in started:
        process.start()
    for process in started:
        process.join(PATIENCE)
    return [process.exitcode for process in started]


def steps_in(out: Path) -> list[Step]:
    """What each process left, in their order."""
    return [load_file(path) for path in sorted(out.iterdir())]


def largest_difference(found: Step, expected: Step) -> float:
    """Of any number, as a share of the largest of its tensor, or of a hundredth of the largest gradient of all.

    The latter for gradients that are zero but for rounding, such as that of a bias before a softmax.
    """
    assert found.keys() == expected.keys()
    gradients = [value for name, value in expected.items() if name != "loss" and not name.startswith("buffer ")]
    floor = 1e-2 * max(float(value.abs().max()) for value in gradients)
    return max(
        float((found[name] - value).abs().max()) / max(float(value.abs().max()), floor)
        for name, value in expected.items()
    )


if __name__ == "__main__":
    project, of_stage, folder, *given = sys.argv[1:]
    pairs = (each.partition("=") for each in given)
    take_steps(Path(project), of_stage, Path(folder), {key: json.loads(value) for key, _, value in pairs})
