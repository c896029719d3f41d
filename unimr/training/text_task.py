"""Task of stage `train_text`: every text of every language against the proxies of its items."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from unimr.config import ModelParams, TrainTextParams
from unimr.model.text_encoder import NgramTextEncoder
from unimr.model.tokenizer import WordBatch, by_length
from unimr.training.corpus import TextCorpus, ngram_idf
from unimr.training.losses.proxy import ProxyLoss

PARTS = 4
"""A batch is sorted by length and encoded in so many parts: less padding."""


@dataclass(frozen=True, repr=False)
class TextBatch:
    """Texts in parts of like length, and the share of each item in each text `[batch, items]`."""

    parts: list[WordBatch]
    targets: torch.Tensor
    texts: list[str]

    def __repr__(self) -> str:
        return f"the texts {'; '.join(self.texts[:5])}; … ({len(self.texts)})"


def draw_texts(corpus: TextCorpus, size: int, rng: np.random.Generator) -> TextBatch:
    """A batch of train texts with words left out at random, sorted by length."""
    numbers = corpus.sample(size, rng)
    words = [corpus.dropped(number, rng) for number in numbers]
    places = by_length(words, PARTS)
    parts = [corpus.tokenizer.batch([words[place] for place in part]) for part in places]
    order = np.concatenate(places)
    return TextBatch(parts, corpus.targets(numbers[order]), [corpus.texts[number] for number in numbers[order]])


def text_loss(embed: Callable[[WordBatch], torch.Tensor], proxy_loss: ProxyLoss, batch: TextBatch) -> torch.Tensor:
    """Proxy loss of a batch, embedded part by part with `embed` (word batch → unit vectors `[part, dim]`)."""
    device = proxy_loss.proxies.device
    vectors = torch.cat([embed(part.to(device)) for part in batch.parts])
    loss: torch.Tensor = proxy_loss(vectors, batch.targets.to(device))
    return loss


class TextTask:
    """Pre-trains the text encoder; the proxies start from those of the pictures."""

    def __init__(self, model: ModelParams, params: TrainTextParams, corpus: TextCorpus) -> None:
        self.params, self.corpus = params, corpus
        self.encoder = NgramTextEncoder(model.text, model.dim)
        self.encoder.idf.copy_(ngram_idf(corpus.tokenizer.ngrams, model.text.buckets))
        self.projection = nn.Linear(model.dim, model.dim)
        self.proxy_loss = ProxyLoss(len(corpus.item_ids), model.dim, model.matryoshka_dims)
        self.module = nn.ModuleDict(
            {"text_encoder": self.encoder, "text_projection": self.projection, "proxy_loss": self.proxy_loss}
        )

    def table(self) -> list[nn.Parameter]:
        """The n-gram table."""
        return [self.encoder.ngram_table]

    def batch(self, rng: np.random.Generator) -> TextBatch:
        """Texts by the shares of their roles."""
        return draw_texts(self.corpus, self.params.batch_size, rng)

    def __call__(self, batch: TextBatch) -> tuple[torch.Tensor, dict[str, float], int]:
        """Proxy loss of the batch."""
        loss = text_loss(self._embed, self.proxy_loss, batch)
        return loss, {"text": float(loss.detach())}, len(batch.texts)

    def _embed(self, words: WordBatch) -> torch.Tensor:
        return F.normalize(self.projection(self.encoder(words).pooled).float(), dim=-1)
