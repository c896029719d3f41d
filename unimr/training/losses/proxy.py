"""Classification against one learned vector an item."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn


class ProxyLoss(nn.Module):
    """Softmax cross-entropy of embeddings against one unit vector an item, with a learned temperature.

    Every string and every picture is pulled to the proxy of its item and pushed from all others (Movshovitz-Attias
    et al. 2017, "No Fuss Distance Metric Learning Using Proxies"; normalised softmax of Zhai and Wu 2019). All items
    are negatives of every embedding at every step, whatever the batch holds. A string of several items is spread
    evenly over all of them, so none of them is its negative.

    Args:
        items: number of items.
        dim: width of the embeddings.
        matryoshka_dims: leading dimensions that must work on their own; the loss is the mean over them.
        min_temperature: the learned temperature stays above it. A low one is content when an embedding is nearer to
            its proxy than to the others; a high one asks that it lies on its proxy, so that texts and pictures of an
            item, which never meet but there, lie on each other.

    Inputs:
        embeddings: `[batch, dim]`, unit length.
        targets: the number of the item of each embedding `[batch]`, -1 for one that does not count. Or, where they
            may belong to several, the share of each item in each embedding `[batch, items]`: the shares of a row sum
            to 1; -1 where the item is neither a positive nor a negative; a row of zeros does not count.

    Relation to the other losses: `InfoNCELoss` contrasts the members of a batch with each other and needs no list of
    items; it is for catalogues too large to count.

    Example:
        >>> loss = ProxyLoss(items=3, dim=4, matryoshka_dims=[2, 4])
        >>> loss(F.normalize(torch.randn(2, 4), dim=-1), torch.tensor([0, 2])).ndim
        0
    """

    def __init__(self, items: int, dim: int, matryoshka_dims: Sequence[int], min_temperature: float = 0.01) -> None:
        super().__init__()
        if max(matryoshka_dims) > dim:
            raise ValueError(f"matryoshka_dims {list(matryoshka_dims)} must not exceed dim = {dim}")
        self.proxies = nn.Parameter(F.normalize(torch.randn(items, dim), dim=-1))
        self.log_inverse_temperature = nn.Parameter(torch.tensor(2.77))  # 1 / 0.0625
        self.matryoshka_dims = list(matryoshka_dims)
        self.max_log_inverse_temperature = -math.log(min_temperature)

    def forward(self, embeddings: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Mean loss over the rows that count and the Matryoshka dimensions, a scalar."""
        scale = self.log_inverse_temperature.clamp(max=self.max_log_inverse_temperature).exp()
        losses = []
        for dim in self.matryoshka_dims:
            left, right = F.normalize(embeddings[:, :dim], dim=-1), F.normalize(self.proxies[:, :dim], dim=-1)
            logits = ((left * scale) @ right.T).float()  # [batch, items]
            losses.append(_by_number(logits, targets) if targets.ndim == 1 else _by_share(logits, targets))
        return torch.stack(losses).mean()


def _by_number(logits: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
    total = F.cross_entropy(logits, items, ignore_index=-1, reduction="sum")
    return total / (items >= 0).sum().clamp_min(1)


def _by_share(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    shares = targets.clamp_min(0)
    total = -(shares * logits.masked_fill(targets < 0, -1e4).log_softmax(-1)).sum()
    return total / shares.any(-1).sum().clamp_min(1)
