"""The `ngram` text encoder: words from hashed character n-grams, a residual MLP, transformer layers over the words."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from unimr.model.tokenizer import NgramBatch
from unimr.model_params import TextEncoderParams


@dataclass(frozen=True)
class TextStates:
    """What the encoder says of a batch.

    Attributes:
        words: word vectors before any context `[batch, tokens, dim]`.
        states: contextual word vectors `[batch, tokens, dim]`.
        scores: how much each word weighs in the pooling, before softmax `[batch, tokens]`.
        mask: True where there is a word `[batch, tokens]`.
        pooled: the text as one vector, not normalised `[batch, dim]`.
    """

    words: torch.Tensor
    states: torch.Tensor
    scores: torch.Tensor
    mask: torch.Tensor
    pooled: torch.Tensor


def attention_pool(states: torch.Tensor, scores: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean of `states [batch, tokens, dim]` weighted by the softmax of `scores [batch, tokens]` → `[batch, dim]`."""
    weights = scores.float().masked_fill(~mask, -1e9).softmax(dim=1).to(states.dtype)
    return torch.einsum("bt,btd->bd", weights, states)


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

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """`[batch, tokens, dim]`, mask `[batch, tokens]` → `[batch, tokens, dim]`."""
        batch, tokens, dim = x.shape
        mixed = self.project_in(self.norm(x)).view(batch, tokens, 3, self.heads, dim // self.heads)
        query, key, value = mixed.permute(2, 0, 3, 1, 4)
        # Written out: for a few dozen words the fused kernel's gradient takes longer on a CPU than all else here.
        scores = (query @ key.transpose(-1, -2)).float() * (dim // self.heads) ** -0.5  # [batch, heads, tokens, tokens]
        weights = scores.masked_fill(~mask[:, None, None, :], -1e9).softmax(-1).to(value.dtype)
        attended = weights @ value
        out: torch.Tensor = self.project_out(attended.transpose(1, 2).reshape(batch, tokens, dim))
        return x + out


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

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """`[batch, tokens, dim]`, mask `[batch, tokens]` → `[batch, tokens, dim]`."""
        x = x * mask[..., None]
        before, after = F.pad(x, (0, 0, 1, 0))[:, :-1], F.pad(x, (0, 0, 0, 1))[:, 1:]
        x = x + F.gelu(self.neighbours(torch.cat([before, x, after], dim=-1)))
        out: torch.Tensor = self.mlp(self.attention(x, mask))
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
        # The table's gradient is sparse: a batch touches a small part of its rows.
        summed = F.embedding_bag(
            batch.buckets, self.ngram_table, batch.offsets, mode="sum", sparse=True, per_sample_weights=weights
        )
        squares = torch.zeros(len(batch.offsets), device=weights.device)
        squares.index_add_(0, _word_of_ngram(batch), weights.square())
        return summed * squares.clamp_min(1e-6).rsqrt()[:, None]

    def forward(self, batch: NgramBatch) -> TextStates:
        """Encode a batch of texts."""
        # Not by [...]: the gradient of that adds up in whatever order the threads come, and no two runs are the same.
        words = F.embedding(batch.words, self.word_mlp(self.embed_words(batch)))
        states = words
        for layer in self.layers:
            states = layer(states, batch.mask)
        states = self.norm(states)
        scores = self.pool_score(states).squeeze(-1)
        return TextStates(words, states, scores, batch.mask, attention_pool(states, scores, batch.mask))


def _word_of_ngram(batch: NgramBatch) -> torch.Tensor:
    """For every n-gram of the batch the distinct word it belongs to `[ngrams]`."""
    starts = torch.zeros(len(batch.buckets), dtype=torch.long, device=batch.buckets.device)
    starts[batch.offsets[1:]] = 1
    return starts.cumsum(0)
