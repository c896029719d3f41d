"""Several processes that train as one: what they exchange, and a normalisation over the rows of all of them.

Every process draws the same global batch from the same random numbers, encodes its share of the rows
(`unimr.training.encode`) and computes the same loss of the whole. What a process passes back to its rows is counted
once for each process, so that the mean of the gradients over processes is the gradient that one process would have.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from unimr.errors import UnimrError

BUCKET = 2**24
"""Numbers of dense gradients that are exchanged at a time: 64 MiB."""


def process_count() -> int:
    """Number of processes of this run; 1 where none were launched together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def process_index() -> int:
    """Which of them this is; 0 is the main process, which alone writes."""
    return dist.get_rank() if dist.is_initialized() else 0


def sum_in_place(values: torch.Tensor) -> None:
    """Replace values by their sum over all processes: the same bits in each.

    Raises:
        UnimrError: another process has ended.
    """
    _exchange(dist.all_reduce, values)


def gather(values: torch.Tensor) -> list[torch.Tensor]:
    """Values of one shape from every process, in their order.

    Raises:
        UnimrError: another process has ended.
    """
    found = [torch.empty_like(values) for _ in range(process_count())]
    _exchange(dist.all_gather, found, values)
    return found


@contextmanager
def main_process_first() -> Iterator[None]:
    """Let the main process do something before the others do it.

    Raises:
        UnimrError: another process has ended.
    """
    if process_index():
        wait_for_all()
    yield
    if not process_index():
        wait_for_all()


def wait_for_all() -> None:
    """Go on when every process has come here.

    Raises:
        UnimrError: another process has ended.
    """
    if process_count() > 1:
        _exchange(dist.barrier)


def _exchange(call: Any, *values: Any) -> None:
    try:
        call(*values)
    except RuntimeError as error:
        raise UnimrError(
            f"Process {process_index()} lost the others of this run ({str(error).splitlines()[0]}): one of them has "
            "ended; its own message says why. The last checkpoint is kept; start the same command again."
        ) from error


def anywhere(asked: bool, device: torch.device) -> bool:
    """Whether something is so in any process."""
    flag = torch.tensor(float(asked), device=device)
    sum_in_place(flag)
    return bool(flag > 0)


def require_same(value: str, what: str, device: torch.device) -> None:
    """Check that a value is the same in all processes.

    Raises:
        UnimrError: it is not; `what` says what differs.
    """
    number = int.from_bytes(hashlib.sha256(value.encode()).digest()[:7])
    found = [int(each) for each in gather(torch.tensor([number], device=device))]
    if len(set(found)) > 1:
        others = [str(place) for place, each in enumerate(found) if each != found[0]]
        raise UnimrError(
            f"{what} of process {', '.join(others)} differ from those of process 0. All machines of a run need the "
            "same commit, params.yaml, tables and earlier stages, and one project folder that all of them see."
        )


class _SumOverProcesses(torch.autograd.Function):
    """The sum over processes; the gradient of each process is the sum of theirs."""

    @staticmethod
    def forward(_ctx: Any, values: torch.Tensor) -> torch.Tensor:
        total = values.clone()
        sum_in_place(total)
        return total

    @staticmethod
    def backward(_ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        total = gradients[0].clone()
        sum_in_place(total)
        return total


def _sum_over_processes(values: torch.Tensor) -> torch.Tensor:
    total: torch.Tensor = _SumOverProcesses.apply(values)  # type: ignore[no-untyped-call]
    return total


def average_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Replace the gradients of all parameters, dense and sparse, by their mean over processes."""
    found = [parameter for parameter in parameters if parameter.grad is not None]
    for bucket in _buckets([value.grad for value in found if value.grad is not None and not value.grad.is_sparse]):
        flat = torch.cat([gradient.flatten() for gradient in bucket])
        sum_in_place(flat)
        flat /= process_count()
        for gradient, mean in zip(bucket, torch.split(flat, [each.numel() for each in bucket]), strict=True):
            gradient.copy_(mean.view(gradient.shape))
    for parameter in found:
        if parameter.grad is not None and parameter.grad.is_sparse:
            parameter.grad = _mean_of_sparse(parameter.grad)


def _buckets(gradients: Sequence[torch.Tensor]) -> Iterator[list[torch.Tensor]]:
    bucket: list[torch.Tensor] = []
    for gradient in gradients:
        bucket.append(gradient)
        if sum(each.numel() for each in bucket) >= BUCKET:
            yield bucket
            bucket = []
    if bucket:
        yield bucket


def _mean_of_sparse(gradient: torch.Tensor) -> torch.Tensor:
    """Mean of the sparse gradients `[rows, dim]` of a table: the touched rows of every process, one after the other."""
    own = gradient.coalesce()
    rows, values = own.indices()[0], own.values()
    counts = [int(count) for count in gather(torch.tensor([len(rows)], device=rows.device))]
    padding = max(counts) - len(rows)
    all_rows = gather(nn.functional.pad(rows, (0, padding)))
    all_values = gather(nn.functional.pad(values, (0, 0, 0, padding)))
    rows = torch.cat([each[:count] for each, count in zip(all_rows, counts, strict=True)])
    values = torch.cat([each[:count] for each, count in zip(all_values, counts, strict=True)])
    mean = torch.sparse_coo_tensor(rows[None], values / process_count(), gradient.shape, check_invariants=False)
    return mean.coalesce()


class GlobalBatchNorm(nn.BatchNorm2d):
    """Batch normalisation whose means and variances are those of the rows of all processes.

    What torch calls synchronised batch normalisation, which it has for GPUs alone.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[batch, channels, height, width]`, a share of the rows → the same shape."""
        if not self.training:
            return super().forward(x)
        values = x.float()
        count = torch.tensor(float(values.numel() // self.num_features), device=x.device)
        sum_in_place(count)
        mean = _sum_over_processes(values.sum((0, 2, 3))) / count
        centred = values - mean[:, None, None]
        variance = _sum_over_processes(centred.square().sum((0, 2, 3))) / count
        self._remember(mean.detach(), variance.detach() * count / (count - 1))
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)

    @torch.no_grad()
    def _remember(self, mean: torch.Tensor, variance: torch.Tensor) -> None:
        momentum = 0.1 if self.momentum is None else self.momentum
        for running, value in ((self.running_mean, mean), (self.running_var, variance)):
            if running is not None:
                running.lerp_(value.to(running.dtype), momentum)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)


def normalise_globally(module: nn.Module) -> None:
    """Let every batch normalisation in a module see the rows of all processes; names and weights stay as they are."""
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.BatchNorm2d:
                synchronised = GlobalBatchNorm(child.num_features, child.eps, child.momentum)
                synchronised.load_state_dict(child.state_dict())
                setattr(parent, name, synchronised)
