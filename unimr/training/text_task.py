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
from unimr.training.losses.info_nce import InfoNCELoss
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


@dataclass(frozen=True, repr=False)
class TextPairs:
    """Pairs of texts of a `TextBatch` that belong to one item: their places in it, and the item, each `[pairs]`."""

    left: torch.Tensor
    right: torch.Tensor
    items: torch.Tensor


def draw_texts(corpus: TextCorpus, size: int, rng: np.random.Generator) -> TextBatch:
    """A batch of train texts with words left out at random, sorted by length."""
    return _sorted_texts(corpus, corpus.sample(size, rng), rng)[0]


def draw_pairs(corpus: TextCorpus, size: int, rng: np.random.Generator) -> tuple[TextBatch, TextPairs]:
    """A batch of train texts of which one half is drawn, and the other has a partner for each of them."""
    drawn = corpus.sample(size // 2, rng)
    items, partners = corpus.partners(drawn, rng)
    texts, order = _sorted_texts(corpus, np.concatenate([drawn, partners]), rng)
    places = torch.from_numpy(np.argsort(order))
    return texts, TextPairs(places[: len(drawn)], places[len(drawn) :], torch.from_numpy(items))


def _sorted_texts(corpus: TextCorpus, numbers: np.ndarray, rng: np.random.Generator) -> tuple[TextBatch, np.ndarray]:
    """The batch, and the place in `numbers` of each of its texts."""
    words = [corpus.dropped(number, rng) for number in numbers]
    parts, order = in_parts(corpus.tokenizer, words, PARTS)
    numbers = numbers[order]
    return TextBatch(parts, corpus.targets(numbers), [corpus.texts[number] for number in numbers], numbers), order


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

    `pairs` are those of the texts that are contrasted, if any; `taught` is what the teacher says of each text
    `[batch, width]`, if there is one.
    """

    texts: TextBatch
    pairs: TextPairs | None
    pictures: torch.Tensor
    taught: torch.Tensor | None

    def __repr__(self) -> str:
        return repr(self.texts)


class TextTask:
    """Pre-trains the text encoder against the proxies of the pictures.

    The image encoder is locked: its vectors go through the same loss as the texts, so that the proxies, which the
    texts may move, stay where the pictures are (the locked image tower of Zhai et al. 2022, "LiT", section 3, with
    proxies between the towers). Texts of an item are contrasted with each other too: proxies tell the items of
    training apart, contrast teaches which words of two languages say the same, for items to come. A teacher, if there
    is one, says what the texts are like.
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
        self.contrast = InfoNCELoss()
        self.module = nn.ModuleDict(
            {"text_encoder": self.encoder, "text_projection": self.projection, "proxy_loss": self.proxy_loss}
        )
        if params.contrast_weight:
            self.module["contrast"] = self.contrast

    def table(self) -> list[nn.Parameter]:
        """Those of the text encoder."""
        return self.encoder.sparse_parameters()

    def batch(self, rng: np.random.Generator) -> TextPictureBatch:
        """Texts by the shares of their roles, and pictures."""
        size, pairs = self.params.batch_size, None
        if self.params.contrast_weight:
            texts, pairs = draw_pairs(self.corpus, size, rng)
        else:
            texts = draw_texts(self.corpus, size, rng)
        pictures = torch.from_numpy(rng.integers(0, len(self.pictures.items), len(texts.texts)))
        return TextPictureBatch(texts, pairs, pictures, self.teacher.targets(texts.numbers) if self.teacher else None)

    def __call__(self, batch: TextPictureBatch) -> tuple[torch.Tensor, dict[str, float], int]:
        """Proxy loss of the texts plus that of the pictures, plus the contrast of pairs and the teacher's."""
        proxies = self.proxy_loss.proxies
        texts = embed_parts(self._embed, batch.texts, proxies.device, self.params.chunk_size)
        shares = batch.texts.targets.to(proxies.device)
        terms = [("text", 1.0, self.proxy_loss(texts, shares))]
        if self.params.image_weight:
            terms.append(("image", self.params.image_weight, self._picture_loss(batch.pictures)))
        if batch.pairs is not None:
            left, right, items = batch.pairs.left, batch.pairs.right, batch.pairs.items.to(proxies.device)
            pairs = self.contrast(texts[left], texts[right], items, shares[left])
            terms.append(("pairs", self.params.contrast_weight, pairs))
        if batch.taught is not None and self.params.teacher is not None:
            taught = self.similarity(texts, batch.taught.to(proxies.device))
            terms.append(("teacher", self.params.teacher.weight, taught))
        loss = torch.stack([weight * term for _, weight, term in terms]).sum()
        return loss, {name: float(term.detach()) for name, _, term in terms}, len(batch.texts.texts)

    def _picture_loss(self, pictures: torch.Tensor) -> torch.Tensor:
        """Proxy loss of picture vectors by number `[pictures]`."""
        proxies = self.proxy_loss.proxies
        targets = F.one_hot(self.pictures.items[pictures].to(proxies.device), len(proxies)).float()
        loss: torch.Tensor = self.proxy_loss(self.pictures.vectors[pictures].to(proxies.device), targets)
        return loss

    def _embed(self, words: WordBatch) -> torch.Tensor:
        return F.normalize(self.projection(self.encoder(words).pooled).float(), dim=-1)
