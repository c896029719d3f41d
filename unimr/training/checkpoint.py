"""Checkpoints that survive `kill -9`: temporary folder, fsync, hash, rename; the old one goes when the new is whole.

A checkpoint holds everything a step depends on: weights, loss parameters, optimiser states and the step. Random
numbers are seeded by (seed, step), so no generator state is needed. Tensors are safetensors, never pickle.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn
from torch.optim import Optimizer

from unimr.errors import UnimrError
from unimr.files import atomic_folder
from unimr.model.manifest import verify_manifest, write_manifest

log = logging.getLogger(__name__)

STATE_FILE = "state.safetensors"
KEPT = 2
"""Checkpoints kept: the newest, and the one before it in case the newest is damaged."""


def save_checkpoint(
    folder: Path, step: int, module: nn.Module, optimizers: list[Optimizer], processes: int = 1
) -> None:
    """Write `folder/step-<step>` after `step` steps of `processes` processes, then drop all but the last two.

    Raises:
        UnimrError: the disk is full; the older checkpoints stand.
    """
    tensors = {f"module/{name}": value for name, value in module.state_dict().items()}
    for number, optimizer in enumerate(optimizers):
        tensors |= {f"optimizer/{number}/{name}": value for name, value in _optimizer_tensors(optimizer)}
    path = folder / f"step-{step:08d}"
    with atomic_folder(path) as temporary:
        data = save({name: value.detach().cpu().contiguous() for name, value in tensors.items()})
        (temporary / STATE_FILE).write_bytes(data)  # save_file would hide that the disk is full
        write_manifest(temporary, {"step": step, "processes": processes})
    for old in _checkpoints(folder)[:-KEPT]:
        shutil.rmtree(old)


def load_checkpoint(folder: Path, module: nn.Module, optimizers: list[Optimizer], processes: int = 1) -> int:
    """Load the newest whole checkpoint of a folder into `module` and `optimizers`.

    A damaged one is named in the log and removed, and the one before it is used. One of another number of processes is
    as good, and named too: the batches to come are the same, but their sums are rounded otherwise.

    Returns:
        The number of steps done; 0 if there is no checkpoint.
    """
    for path in reversed(_checkpoints(folder)):
        try:
            by: int = verify_manifest(path)["notes"]["processes"]
            tensors = load_file(path / STATE_FILE)
        except (UnimrError, SafetensorError) as error:
            log.warning("The checkpoint %s is damaged and was left out: %s", path, error)
            shutil.rmtree(path)
            continue
        _restore(tensors, module, optimizers)
        if by != processes:
            log.warning(
                "The checkpoint %s is of %d process(es), these are %d: the batches stay the same, the weights will "
                "differ from those of a run that kept its number by rounding.", path, by, processes,
            )  # fmt: skip
        return int(path.name.removeprefix("step-"))
    return 0


def _checkpoints(folder: Path) -> list[Path]:
    """Finished checkpoints, oldest first; half-written temporary folders have another name."""
    return sorted(path for path in folder.glob("step-*") if path.name.removeprefix("step-").isdigit())


def _restore(tensors: dict[str, torch.Tensor], module: nn.Module, optimizers: list[Optimizer]) -> None:
    weights = {name.removeprefix("module/"): value for name, value in tensors.items() if name.startswith("module/")}
    module.load_state_dict(weights)
    for number, optimizer in enumerate(optimizers):
        prefix = f"optimizer/{number}/"
        found = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
        state: dict[int, dict[str, Any]] = {}
        for name, value in found.items():
            parameter, _, key = name.partition("/")
            state.setdefault(int(parameter), {})[key] = value
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _optimizer_tensors(optimizer: Optimizer) -> Iterator[tuple[str, torch.Tensor]]:
    """States of an optimiser, named `<parameter>/<key>`; learning rates are set by the schedule at every step."""
    for parameter, values in optimizer.state_dict()["state"].items():
        for key, value in values.items():
            yield f"{parameter}/{key}", value
