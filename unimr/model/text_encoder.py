"""The `ngram` text encoder: words from hashed character n-grams, a residual MLP, transformer layers over the words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from unimr.model.layout import Layout
from unimr.model.tokenizer import NgramBatch
from unimr.model_params import TextEncoderParams


@dataclass(frozen=True)
class TextStates:
    """What the encoder says of a batch.

    Attributes:
        words: word vectors before any context `[words, dim]`.
        states: contextual word vectors `[words, dim]`.
        scores: how much each word weighs in the pooling, before softmax `[words]`.
        layout: where the words of each text are.
        pooled: the text as one vector, not normalised `[batch, dim]`.
    """

    words: torch.Tensor
    states: torch.Tensor
    scores: torch.Tensor
    layout: Layout
    pooled: torch.Tensor


def attention_pool(states: torch.Tensor, scores: torch.Tensor, layout: Layout) -> torch.Tensor:
    """Mean of the states of each text `[words, dim]`, by the softmax of their scores `[words]` → `[batch, dim]`."""
    pooled = []
    for mask, of_part, score in layout.parts(states, scores.float()):
        weights = score.masked_fill(~mask, -1e9).softmax(dim=1).to(of_part.dtype)
        pooled.append(torch.einsum("bt,btd->bd", weights, of_part))
    return torch.cat(pooled)


class ResidualMLP(nn.Module):
    """`x + MLP(norm(x))`."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.up, self.down = nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[..., dim]` → `[..., dim]`."""
        down: torch.Tensor = self.down(F.gelu(self.up(self.norm(x))))
        return x + down


class SelfAttention(nn.Module):
    """Multi-head self-attention with a residual; no positions, order comes from the n-grams' neighbours."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.project_in, self.project_out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x: torch.Tensor, layout: Layout) -> torch.Tensor:
        """`[words, dim]` → `[words, dim]`."""
        mixed = self.project_in(self.norm(x))  # [words, 3 * dim]
        attended = layout.joined([self._attend(of_part, mask) for mask, of_part in layout.parts(mixed)])
        out: torch.Tensor = self.project_out(attended)
        return x + out

    def _attend(self, mixed: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Query, key and value `[texts, tokens, 3 * dim]`, mask `[texts, tokens]` → `[texts, tokens, dim]`."""
        texts, tokens, width = mixed.shape
        head = width // 3 // self.heads
        query, key, value = mixed.view(texts, tokens, 3, self.heads, head).permute(2, 0, 3, 1, 4)
        # Written out: for a few dozen words the fused kernel's gradient takes longer on a CPU than all else here.
        scores = (query @ key.transpose(-1, -2)).float() * head**-0.5  # [texts, heads, tokens, tokens]
        weights = scores.masked_fill(~mask[:, None, None, :], -1e9).softmax(-1).to(value.dtype)
        attended: torch.Tensor = weights @ value
        return attended.transpose(1, 2).reshape(texts, tokens, width // 3)


class TransformerLayer(nn.Module):
    """A pre-norm transformer layer in which each word first sees its neighbours.

    A convolution over three words gives word order without position embeddings, so that a phrase means the same
    wherever it stands in the sentence. It is written as one matrix product over shifted copies: on a CPU the
    gradient of a 1-d convolution takes seven times as long.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.neighbours = nn.Linear(3 * dim, dim)
        self.attention = SelfAttention(dim, heads)
        self.mlp = ResidualMLP(dim, 2 * dim)

    def forward(self, x: torch.Tensor, layout: Layout) -> torch.Tensor:
        """`[words, dim]` → `[words, dim]`."""
        before = F.pad(x, (0, 0, 1, 0))[:-1].masked_fill(layout.first[:, None], 0)
        after = F.pad(x, (0, 0, 0, 1))[1:].masked_fill(layout.last[:, None], 0)
        x = x + F.gelu(self.neighbours(torch.cat([before, x, after], dim=-1)))
        out: torch.Tensor = self.mlp(self.attention(x, layout))
        return out


class NgramTextEncoder(nn.Module):
    """Texts as word vectors summed from hashed character n-grams, with transformer layers on top.

    `idf` weighs every n-gram by its rarity among the words of the training texts; it is set once by the stage that
    trains the encoder and saved with the weights.
    """

    idf: torch.Tensor

    def __init__(self, params: TextEncoderParams, dim: int) -> None:
        super().__init__()
        self.ngram_table = nn.Parameter(torch.empty(params.buckets, dim))
        nn.init.normal_(self.ngram_table, std=dim**-0.5)
        self.register_buffer("idf", torch.ones(params.buckets))
        self.word_mlp = ResidualMLP(dim, 2 * dim)
        self.layers = nn.ModuleList(TransformerLayer(dim, params.heads) for _ in range(params.layers))
        self.norm = nn.LayerNorm(dim)
        self.pool_score = nn.Linear(dim, 1)

    def sparse_parameters(self) -> list[nn.Parameter]:
        """The n-gram table: a batch touches a small part of its rows."""
        return [self.ngram_table]

    def embed_words(self, batch: NgramBatch) -> torch.Tensor:
        """Vectors of the distinct words of a batch `[distinct, dim]`."""
        weights = self.idf[batch.buckets]
        summed: torch.Tensor = _WeightedSums.apply(  # type: ignore[no-untyped-call]
            self.ngram_table, batch.buckets, batch.offsets, weights
        )
        # Of these weights alone: a batch touches a small part of the table.
        places = torch.arange(len(weights), device=weights.device)
        squares = F.embedding_bag(places, weights.square()[:, None], batch.offsets, mode="sum")
        return summed * squares.clamp_min(1e-6).rsqrt()

    def forward(self, batch: NgramBatch) -> TextStates:
        """Encode a batch of texts."""
        # Not by [...]: the gradient of that adds up in whatever order the threads come, and no two runs are the same.
        words = F.embedding(batch.words, self.word_mlp(self.embed_words(batch)))
        states = words
        for layer in self.layers:
            states = layer(states, batch.layout)
        states = self.norm(states)
        scores = self.pool_score(states).squeeze(-1)
        return TextStates(words, states, scores, batch.layout, attention_pool(states, scores, batch.layout))


class _WeightedSums(torch.autograd.Function):
    """Weighted sums of rows of a table, bag by bag, with a sparse gradient: a batch touches a small part of the rows.

    The gradient of a row is the weighted sum of those of the bags it is in: bags again. The one that torch has for
    `embedding_bag` holds a row for every n-gram of the batch, still to be sorted and summed: it takes twice as long.
    """

    @staticmethod
    def forward(
        ctx: Any, table: torch.Tensor, rows: torch.Tensor, offsets: torch.Tensor, weights: torch.Tensor
    ) -> torch.Tensor:
        ctx.save_for_backward(rows, offsets, weights)
        ctx.shape = table.shape
        return F.embedding_bag(rows, table.detach(), offsets, mode="sum", per_sample_weights=weights)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        rows, offsets, weights = ctx.saved_tensors
        lengths = torch.diff(offsets, append=offsets.new_tensor([len(rows)]))
        bags = torch.arange(len(offsets), device=rows.device).repeat_interleave(lengths)
        ordered, order = rows.sort(stable=True)
        touched, counts = ordered.unique_consecutive(return_counts=True)
        values = F.embedding_bag(
            bags[order], gradients[0], counts.cumsum(0) - counts, mode="sum", per_sample_weights=weights[order]
        )
        indices = touched[None]
        gradient = torch.sparse_coo_tensor(indices, values, ctx.shape, is_coalesced=True, check_invariants=False)
        return gradient, None, None, None
