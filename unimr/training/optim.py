"""Optimiser of the n-gram table, groups of parameters, and the learning-rate schedule."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, overload

import torch
from torch.optim import Optimizer


class RowwiseAdagrad(Optimizer):
    """Adagrad with one accumulator a row, for tables with sparse gradients.

    Only the rows a batch touched are read or written, and the state is 1/dim of the table's size (the row-wise
    Adagrad of Gupta et al. 2014, "Training highly multiclass classifiers", as embedding tables commonly use it).

    Args:
        params: tables `[rows, dim]` whose gradients are sparse.
        lr: learning rate.
    """

    def __init__(self, params: Iterable[torch.Tensor], lr: float) -> None:
        super().__init__(params, {"lr": lr})

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update the rows that have a gradient."""
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is not None:
                    self._update(table, group["lr"])
        return None if closure is None else closure()

    def _update(self, table: torch.Tensor, learning_rate: float) -> None:
        state: dict[str, Any] = self.state[table]
        if not state:
            state["squares"] = torch.zeros(len(table), device=table.device)
        gradient = table.grad.coalesce()  # type: ignore[union-attr]
        rows, values = gradient.indices()[0], gradient.values()
        squares = state["squares"][rows] + torch.linalg.vector_norm(values, dim=1).square() / values.shape[1]
        state["squares"][rows] = squares
        table.index_add_(0, rows, values * (-learning_rate / (squares.sqrt() + 1e-8))[:, None])


def parameter_groups(
    parameters: Iterable[torch.nn.Parameter], scales: Mapping[torch.nn.Parameter, float]
) -> list[dict[str, Any]]:
    """Parameters in groups of one learning rate: `scale` times the stage's; 1 where `scales` says nothing.

    AdamW's fused kernel reads and writes each value once instead of a dozen times. It takes no notice of how weights
    lie in memory, so those of convolutions, whose channels lie last, go without: else a resumed run would end with
    other bytes.
    """
    groups: dict[tuple[float, bool], list[torch.nn.Parameter]] = {}
    for parameter in parameters:
        groups.setdefault((scales.get(parameter, 1.0), parameter.is_contiguous()), []).append(parameter)
    return [{"params": members, "scale": scale, "fused": fused} for (scale, fused), members in groups.items()]


def schedule(step: int, steps: int, warmup_steps: int) -> float:
    """Factor of the learning rate: linear warm-up, then half a cosine down to zero at the last step."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, steps - warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * progress))
