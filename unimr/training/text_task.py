"""Task of stage `train_text`: every text of every language against the proxies of its items."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from unimr.model.encoders import ImageEncoder, make_text_encoder
from unimr.model.image_encoder import on_background
from unimr.model.text_encoder import NgramTextEncoder
from unimr.model.tokenizer import NgramTokenizer, WordBatch, in_parts
from unimr.model_params import ModelParams
from unimr.params import TrainTextParams
from unimr.training.augment import augment
from unimr.training.corpus import TextCorpus, ngram_idf
from unimr.training.encode import encode
from unimr.training.losses.proxy import ProxyLoss
from unimr.training.losses.similarity import SimilarityLoss
from unimr.training.pictures import Pictures
from unimr.training.teacher import Teacher

PARTS = 3
"""A batch is sorted by length and encoded in so many parts: less padding."""
PICTURES_AT_A_TIME = 256


@dataclass(frozen=True, repr=False)
class TextBatch:
    """Texts in parts of like length.

    Attributes:
        parts: the words of each part.
        targets: share of each item in each text `[batch, items]`.
        texts: the texts, part after part.
        numbers: their places in the corpus `[batch]`.
    """

    parts: list[WordBatch]
    targets: torch.Tensor
    texts: list[str]
    numbers: np.ndarray

    def __repr__(self) -> str:
        return f"the texts {'; '.join(self.texts[:5])}; … ({len(self.texts)})"


def draw_texts(corpus: TextCorpus, size: int, rng: np.random.Generator) -> TextBatch:
    """A batch of train texts with words left out at random, sorted by length."""
    numbers = corpus.sample(size, rng)
    words = [corpus.dropped(number, rng) for number in numbers]
    parts, order = in_parts(corpus.tokenizer, words, PARTS)
    numbers = numbers[order]
    return TextBatch(parts, corpus.targets(numbers), [corpus.texts[number] for number in numbers], numbers)


def text_loss(
    embed: Callable[[WordBatch], torch.Tensor], proxy_loss: ProxyLoss, batch: TextBatch, chunk_size: int
) -> torch.Tensor:
    """Proxy loss of a batch, embedded part by part with `embed` (word batch → unit vectors `[part, dim]`)."""
    vectors = embed_parts(embed, batch, proxy_loss.proxies.device, chunk_size)
    loss: torch.Tensor = proxy_loss(vectors, batch.targets.to(vectors.device))
    return loss


def embed_parts(
    embed: Callable[[WordBatch], torch.Tensor], batch: TextBatch, device: torch.device, chunk_size: int
) -> torch.Tensor:
    """Vectors of a batch, embedded part by part `[batch, dim]`."""
    return torch.cat([encode(embed, part.to(device), chunk_size) for part in batch.parts])


@dataclass(frozen=True)
class PictureVectors:
    """Embeddings of pictures by the finished image encoder `[pictures, dim]`, and their items `[pictures]`."""

    vectors: torch.Tensor
    items: torch.Tensor


@torch.inference_mode()
def embed_pictures(encoder: ImageEncoder, pictures: Pictures) -> PictureVectors:
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
    """Texts, and numbers of picture vectors `[pictures]` that hold the proxies in place.

    `taught` is what the teacher says of each text `[batch, width]`, if there is one.
    """

    texts: TextBatch
    pictures: torch.Tensor
    taught: torch.Tensor | None

    def __repr__(self) -> str:
        return repr(self.texts)


class TextTask:
    """Pre-trains the text encoder against the proxies of the pictures.

    The image encoder is locked: its vectors go through the same loss as the texts, so that the proxies, which the
    texts may move, stay where the pictures are (the locked image tower of Zhai et al. 2022, "LiT", section 3, with
    proxies between the towers). A teacher, if there is one, says what the texts are like.
    """

    def __init__(
        self,
        model: ModelParams,
        params: TrainTextParams,
        corpus: TextCorpus,
        pictures: PictureVectors,
        teacher: Teacher | None = None,
    ) -> None:
        self.params, self.corpus, self.pictures, self.teacher = params, corpus, pictures, teacher
        self.similarity = SimilarityLoss()
        self.encoder = make_text_encoder(model.text, model.dim, corpus.tokenizer)
        if isinstance(self.encoder, NgramTextEncoder) and isinstance(corpus.tokenizer, NgramTokenizer):
            self.encoder.idf.copy_(ngram_idf(corpus.tokenizer.ngrams, len(self.encoder.idf)))
        self.projection = nn.Linear(model.dim, model.dim)
        self.proxy_loss = ProxyLoss(len(corpus.item_ids), model.dim, model.matryoshka_dims, params.min_temperature)
        self.module = nn.ModuleDict(
            {"text_encoder": self.encoder, "text_projection": self.projection, "proxy_loss": self.proxy_loss}
        )

    def table(self) -> list[nn.Parameter]:
        """Those of the text encoder."""
        return self.encoder.sparse_parameters()

    def batch(self, rng: np.random.Generator) -> TextPictureBatch:
        """Texts by the shares of their roles, and pictures."""
        texts = draw_texts(self.corpus, self.params.batch_size, rng)
        pictures = torch.from_numpy(rng.integers(0, len(self.pictures.items), len(texts.texts)))
        return TextPictureBatch(texts, pictures, self.teacher.targets(texts.numbers) if self.teacher else None)

    def __call__(self, batch: TextPictureBatch) -> tuple[torch.Tensor, dict[str, float], int]:
        """Proxy loss of the texts plus that of the pictures, plus the teacher's."""
        proxies = self.proxy_loss.proxies
        texts = embed_parts(self._embed, batch.texts, proxies.device, self.params.chunk_size)
        text = self.proxy_loss(texts, batch.texts.targets.to(proxies.device))
        vectors = self.pictures.vectors[batch.pictures].to(proxies.device)
        targets = F.one_hot(self.pictures.items[batch.pictures].to(proxies.device), len(proxies)).float()
        image = self.proxy_loss(vectors, targets)
        loss = text + self.params.image_weight * image
        report = {"text": float(text.detach()), "image": float(image.detach())}
        if batch.taught is not None and self.params.teacher is not None:
            taught = self.similarity(texts, batch.taught.to(proxies.device))
            loss, report = loss + self.params.teacher.weight * taught, report | {"teacher": float(taught.detach())}
        return loss, report, len(batch.texts.texts)

    def _embed(self, words: WordBatch) -> torch.Tensor:
        return F.normalize(self.projection(self.encoder(words).pooled).float(), dim=-1)
