"""Contrast between the two halves of pairs in a batch, with false negatives masked."""

from __future__ import annotations

import torch
from torch import nn


class InfoNCELoss(nn.Module):
    """Symmetric InfoNCE (van den Oord et al. 2018, equation 4; both directions as in CLIP) with a learned temperature.

    Two pairs of the same item are not each other's negatives: their logits are masked.

    Inputs:
        left, right: embeddings of the two halves of each pair `[batch, dim]`, unit length.
        items: item of each pair `[batch]`.
        related: where a left half may belong to further items, whether it has to do with the item of each pair
            `[batch, batch]`. Right halves of those are no negatives of it either.

    Relation to the other losses: see `ProxyLoss`, which contrasts with all items instead of the batch.

    Example:
        >>> vectors = torch.eye(3)
        >>> float(InfoNCELoss()(vectors, vectors, torch.arange(3))) < 0.1
        True
    """

    def __init__(self) -> None:
        super().__init__()
        self.log_inverse_temperature = nn.Parameter(torch.tensor(2.77))  # 1 / 0.0625

    def forward(
        self, left: torch.Tensor, right: torch.Tensor, items: torch.Tensor, related: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Mean loss over the batch and both directions, a scalar."""
        logits = (left @ right.T).float() * self.log_inverse_temperature.clamp(max=4.6).exp()  # [batch, batch]
        same = items[:, None] == items[None, :] if related is None else related
        logits = logits.masked_fill(same & ~torch.eye(len(items), dtype=torch.bool, device=items.device), -1e4)
        target = torch.arange(len(items), device=items.device)
        forward = nn.functional.cross_entropy(logits, target)
        return (forward + nn.functional.cross_entropy(logits.T, target)) / 2
