"""Task of stage `train_text`: every text of every language against the proxies of its items."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from unimr.model.image_encoder import ConvNet, on_background
from unimr.model.text_encoder import NgramTextEncoder
from unimr.model.tokenizer import WordBatch, in_parts
from unimr.params import ModelParams, TrainTextParams
from unimr.training.augment import augment
from unimr.training.corpus import TextCorpus, ngram_idf
from unimr.training.encode import encode
from unimr.training.losses.proxy import ProxyLoss
from unimr.training.pictures import Pictures

PARTS = 3
"""A batch is sorted by length and encoded in so many parts: less padding."""
PICTURES_AT_A_TIME = 256


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
    parts, order = in_parts(corpus.tokenizer, words, PARTS)
    return TextBatch(parts, corpus.targets(numbers[order]), [corpus.texts[number] for number in numbers[order]])


def text_loss(
    embed: Callable[[WordBatch], torch.Tensor], proxy_loss: ProxyLoss, batch: TextBatch, chunk_size: int
) -> torch.Tensor:
    """Proxy loss of a batch, embedded part by part with `embed` (word batch → unit vectors `[part, dim]`)."""
    device = proxy_loss.proxies.device
    vectors = torch.cat([encode(embed, part.to(device), chunk_size) for part in batch.parts])
    loss: torch.Tensor = proxy_loss(vectors, batch.targets.to(device))
    return loss


@dataclass(frozen=True)
class PictureVectors:
    """Embeddings of pictures by the finished image encoder `[pictures, dim]`, and their items `[pictures]`."""

    vectors: torch.Tensor
    items: torch.Tensor


@torch.inference_mode()
def embed_pictures(encoder: ConvNet, pictures: Pictures) -> PictureVectors:
    """Embed every train picture twice, as it is and augmented: what the locked image tower says of each item."""
    encoder.eval()
    found, device = [], next(encoder.parameters()).device
    for numbers in np.array_split(np.arange(len(pictures.rgba)), len(pictures.rgba) // PICTURES_AT_A_TIME + 1):
        rgba = pictures.pixels(numbers).to(device)
        plain = on_background(rgba, torch.ones(len(rgba), 3, device=device))
        found.append(torch.stack([encoder(plain), encoder(augment(rgba))], dim=1))
    vectors = F.normalize(torch.cat(found).float(), dim=-1).flatten(0, 1)
    return PictureVectors(vectors.cpu().clone(), torch.from_numpy(np.repeat(pictures.items(), 2)))


@dataclass(frozen=True, repr=False)
class TextPictureBatch:
    """Texts, and numbers of picture vectors `[pictures]` that hold the proxies in place."""

    texts: TextBatch
    pictures: torch.Tensor

    def __repr__(self) -> str:
        return repr(self.texts)


class TextTask:
    """Pre-trains the text encoder against the proxies of the pictures.

    The image encoder is locked: its vectors go through the same loss as the texts, so that the proxies, which the
    texts may move, stay where the pictures are (the locked image tower of Zhai et al. 2022, "LiT", section 3, with
    proxies between the towers).
    """

    def __init__(
        self, model: ModelParams, params: TrainTextParams, corpus: TextCorpus, pictures: PictureVectors
    ) -> None:
        self.params, self.corpus, self.pictures = params, corpus, pictures
        self.encoder = NgramTextEncoder(model.text, model.dim)
        self.encoder.idf.copy_(ngram_idf(corpus.tokenizer.ngrams, model.text.buckets))
        self.projection = nn.Linear(model.dim, model.dim)
        self.proxy_loss = ProxyLoss(len(corpus.item_ids), model.dim, model.matryoshka_dims, params.min_temperature)
        self.module = nn.ModuleDict(
            {"text_encoder": self.encoder, "text_projection": self.projection, "proxy_loss": self.proxy_loss}
        )

    def table(self) -> list[nn.Parameter]:
        """The n-gram table."""
        return [self.encoder.ngram_table]

    def batch(self, rng: np.random.Generator) -> TextPictureBatch:
        """Texts by the shares of their roles, and pictures."""
        texts = draw_texts(self.corpus, self.params.batch_size, rng)
        return TextPictureBatch(texts, torch.from_numpy(rng.integers(0, len(self.pictures.items), len(texts.texts))))

    def __call__(self, batch: TextPictureBatch) -> tuple[torch.Tensor, dict[str, float], int]:
        """Proxy loss of the texts plus that of the pictures."""
        text = text_loss(self._embed, self.proxy_loss, batch.texts, self.params.chunk_size)
        proxies = self.proxy_loss.proxies
        vectors = self.pictures.vectors[batch.pictures].to(proxies.device)
        targets = F.one_hot(self.pictures.items[batch.pictures].to(proxies.device), len(proxies)).float()
        image = self.proxy_loss(vectors, targets)
        return text + image, {"text": float(text.detach()), "image": float(image.detach())}, len(batch.texts.texts)

    def _embed(self, words: WordBatch) -> torch.Tensor:
        return F.normalize(self.projection(self.encoder(words).pooled).float(), dim=-1)
