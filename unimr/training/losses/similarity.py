"""Learning a teacher's similarities."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

TEMPERATURE = 0.05
"""Of the similarities: near ones count, far ones hardly."""


class SimilarityLoss(nn.Module):
    """Divergence of the similarities within a batch from those a teacher sees.

    Each text's similarities to the others, as a distribution, are brought to the teacher's (Fang et al. 2021, "SEED",
    section 3.2, with the batch in place of a queue). Only similarities are compared, so student and teacher may have
    different widths and no map between them has to be learned.

    Inputs:
        embeddings: `[batch, dim]`, unit length.
        targets: the teacher's `[batch, width]`, unit length; rows of zeros do not count.

    Relation to the other losses: `ProxyLoss` says which item a text belongs to; this one what it is like.

    Example:
        >>> vectors = F.normalize(torch.randn(4, 8), dim=-1)
        >>> float(SimilarityLoss()(vectors, vectors)) < 1e-5
        True
    """

    def forward(self, embeddings: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Mean divergence (Kullback-Leibler) over the rows that count, a scalar."""
        known = targets.abs().sum(-1) > 0
        student, teacher = embeddings[known].float(), targets[known].float()
        if len(student) < 2:
            return embeddings.sum() * 0
        itself = torch.eye(len(student), dtype=torch.bool, device=student.device)
        found = (student @ student.T / TEMPERATURE).masked_fill(itself, -1e4).log_softmax(-1)  # [known, known]
        asked = (teacher @ teacher.T / TEMPERATURE).masked_fill(itself, -1e4).log_softmax(-1)
        return F.kl_div(found, asked, reduction="batchmean", log_target=True)
