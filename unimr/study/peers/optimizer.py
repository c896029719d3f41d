"""The optimiser of the peers: AdamW, as their authors use it, over a table whose gradient is sparse."""

from __future__ import annotations

import torch
from torch import nn

from unimr.params import PeerRates


def two_rates(module: nn.Module, table: nn.Parameter, rates: PeerRates, weight_decay: float) -> torch.optim.AdamW:
    """AdamW with decay on matrices alone (no gains, biases, scales) and a rate of its own for the n-gram table.

    AdamW knows no sparse gradients: that of the table is made dense. Every group remembers its `peak` rate.
    """
    table.register_post_accumulate_grad_hook(_make_dense)  # type: ignore[no-untyped-call]
    others = [value for value in module.parameters() if value is not table and value.requires_grad]
    groups = [
        {
            "params": [value for value in others if value.ndim >= 2],
            "peak": rates.learning_rate,
            "weight_decay": weight_decay,
        },
        {"params": [value for value in others if value.ndim < 2], "peak": rates.learning_rate, "weight_decay": 0.0},
        {"params": [table], "peak": rates.table_learning_rate, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group | {"lr": group["peak"]} for group in groups])


def _make_dense(value: torch.Tensor) -> None:
    if value.grad is not None and value.grad.is_sparse:
        value.grad = value.grad.to_dense()
