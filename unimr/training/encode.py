"""Encoding the rows of a batch: all at once, in chunks, or shared with other processes.

Losses always see the outputs of the whole batch, in the same order: contrast and proxies need all of them.

Chunks keep memory small whatever the batch: outputs are computed without keeping what the gradient needs, and when it
is asked for, chunk after chunk is encoded again, with the same random numbers, and its gradient taken at once. The
gradient is that of the whole batch, for a second forward pass (the gradient cache of Gao et al. 2021, "Scaling Deep
Contrastive Learning Batch Size under Memory Limited Setup", section 3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from unimr.errors import UnimrError
from unimr.model.tokenizer import WordBatch
from unimr.training.distributed import process_count, process_index, sum_in_place

Rows = TypeVar("Rows", WordBatch, torch.Tensor)


def encode(forward: Callable[[Rows], torch.Tensor], rows: Rows, chunk_size: int) -> torch.Tensor:
    """Output of `forward` for all rows `[rows, ...]`; see `encode_all`."""
    return encode_all(lambda part: (forward(part),), rows, chunk_size)[0]


def encode_all(
    forward: Callable[[Rows], tuple[torch.Tensor, ...]], rows: Rows, chunk_size: int
) -> tuple[torch.Tensor, ...]:
    """Outputs of `forward` for all rows of a batch, each `[rows, ...]`, whoever encodes them.

    Args:
        forward: encodes rows, each independently of the others; batch normalisation (`chunk_of`) is the exception.
        rows: the rows of the global batch, the same in every process.
        chunk_size: rows encoded at a time; 0: all at once.

    Raises:
        UnimrError: there are fewer pictures than processes.
    """
    if process_count() == 1 and not chunk_size:
        return forward(rows)
    share = _share(rows)
    size = chunk_size or len(share)
    with _own_randomness():
        chunks = [
            _encode_chunk(forward, take_rows(rows, share[start : start + size]), bool(chunk_size))
            for start in range(0, len(share), size)
        ]
    outputs = tuple(torch.cat(found) for found in zip(*chunks, strict=True))
    if process_count() == 1:
        return outputs
    return tuple(_assemble(output, _count(rows)) for output in outputs)


def chunk_of(encoder: nn.Module, chunk_size: int) -> int:
    """The chunk size of an encoder: 0 where it normalises over the batch, whose rows then need each other."""
    return 0 if any(isinstance(module, _BatchNorm) for module in encoder.modules()) else chunk_size


def take_rows(batch: Rows, rows: range) -> Rows:
    """Some rows of a batch, one after the other."""
    own = slice(rows.start, rows.stop)
    return batch[own] if isinstance(batch, torch.Tensor) else batch.rows(own)


def _encode_chunk(
    forward: Callable[[Rows], tuple[torch.Tensor, ...]], rows: Rows, again: bool
) -> tuple[torch.Tensor, ...]:
    found: tuple[torch.Tensor, ...] = checkpoint(forward, rows, use_reentrant=False) if again else forward(rows)
    return found


def _count(batch: WordBatch | torch.Tensor) -> int:
    return len(batch) if isinstance(batch, torch.Tensor) else len(batch.layout)


def _own(count: int) -> range:
    """Which of the rows of a batch are this process's; none where there are fewer rows than processes."""
    return range(count * process_index() // process_count(), count * (process_index() + 1) // process_count())


def _share(batch: WordBatch | torch.Tensor) -> range:
    """The rows that this process encodes: its own, or where it has none, one text that does not count."""
    count = _count(batch)
    if isinstance(batch, torch.Tensor) and count < process_count():
        raise UnimrError(
            f"A batch of {count} pictures cannot be shared by {process_count()} processes. Raise batch_size, or "
            "launch fewer processes."
        )
    return _own(count) or range(1)


class _Assemble(torch.autograd.Function):
    """Outputs of all rows, put together from those of every process; the gradient goes back to the own rows."""

    @staticmethod
    def forward(ctx: Any, output: torch.Tensor, count: int) -> torch.Tensor:
        own = ctx.own = _own(count)
        ctx.rows = len(output)
        whole = output.new_zeros(count, *output.shape[1:])
        whole[own.start : own.stop] = output[: len(own)]
        sum_in_place(whole)
        return whole

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        own = gradients[0][ctx.own.start : ctx.own.stop] * process_count()  # the mean over processes is taken of it
        return nn.functional.pad(own, (0, 0) * (own.ndim - 1) + (0, ctx.rows - len(own))), None


def _assemble(output: torch.Tensor, count: int) -> torch.Tensor:
    whole: torch.Tensor = _Assemble.apply(output, count)  # type: ignore[no-untyped-call]
    return whole


@contextmanager
def _own_randomness() -> Iterator[None]:
    """Random numbers of each process's own inside (dropout), and the same in all of them after it as before."""
    if process_count() == 1:
        yield
        return
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(int(torch.randint(2**31, ())) + process_index())
        yield
