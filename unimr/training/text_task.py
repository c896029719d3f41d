"""Task of stage `train_text`: every text of every language against the proxies of its items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from unimr.model.encoders import ImageEncoder, make_text_encoder
from unimr.model.image_encoder import on_background
from unimr.model.text_encoder import NgramTextEncoder
from unimr.model.tokenizer import NgramTokenizer, WordBatch, training_batch
from unimr.model_params import ModelParams
from unimr.params import TrainOnTextsParams, TrainTextParams
from unimr.training.augment import augment
from unimr.training.corpus import TextCorpus, ngram_idf
from unimr.training.encode import encode
from unimr.training.losses.info_nce import InfoNCELoss
from unimr.training.losses.proxy import ProxyLoss
from unimr.training.losses.similarity import SimilarityLoss
from unimr.training.pictures import Pictures
from unimr.training.teacher import Teacher

PICTURES_AT_A_TIME = 256


@dataclass(frozen=True, repr=False)
class TextBatch:
    """Texts, sorted by length.

    Attributes:
        words: their words.
        texts: the texts.
        numbers: their places in the corpus `[batch]`.
        targets: share of each item in each text `[batch, items]`; None where they are not compared with proxies.
        pairs: of the texts that are compared with each other; None where they are not.
    """

    words: WordBatch
    texts: list[str]
    numbers: np.ndarray
    targets: torch.Tensor | None
    pairs: TextPairs | None

    def __repr__(self) -> str:
        return f"the texts {'; '.join(self.texts[:5])}; … ({len(self.texts)})"


@dataclass(frozen=True, repr=False)
class TextPairs:
    """Pairs of texts of a `TextBatch` that belong to one item.

    Attributes:
        left, right: their places in the batch `[pairs]`.
        items: the item of each pair `[pairs]`.
        related: whether a left text has to do with the item of each pair `[pairs, pairs]`.
    """

    left: torch.Tensor
    right: torch.Tensor
    items: torch.Tensor
    related: torch.Tensor


def draw_texts(corpus: TextCorpus, params: TrainOnTextsParams, rng: np.random.Generator) -> TextBatch:
    """A batch of train texts with words left out at random, sorted by length.

    Where texts are contrasted, one half is drawn, and the other has a partner for each of them.
    """
    paired = params.contrast_weight > 0
    numbers = drawn = corpus.sample(params.batch_size // 2 if paired else params.batch_size, rng)
    if paired:
        items, partners = corpus.partners(drawn, rng)
        numbers = np.concatenate([drawn, partners])
    dropped = [corpus.dropped(number, rng, params.word_dropout, params.window_words) for number in numbers]
    words, order = training_batch(corpus.tokenizer, dropped)
    pairs = None
    if paired:
        places, related = torch.from_numpy(np.argsort(order)), corpus.related(drawn, items)
        pairs = TextPairs(places[: len(drawn)], places[len(drawn) :], torch.from_numpy(items), related)
    numbers = numbers[order]
    targets = corpus.targets(numbers) if params.proxy_weight else None
    return TextBatch(words, [corpus.texts[number] for number in numbers], numbers, targets, pairs)


@dataclass(frozen=True)
class Term:
    """A part of a loss: its name, its weight, and its value, a scalar."""

    name: str
    weight: float
    value: torch.Tensor


def weighted_sum(terms: Sequence[Term]) -> tuple[torch.Tensor, dict[str, float]]:
    """The loss, and what to report of it."""
    loss = torch.stack([term.weight * term.value for term in terms]).sum()
    return loss, {term.name: float(term.value.detach()) for term in terms}


def text_terms(
    vectors: torch.Tensor,
    batch: TextBatch,
    proxy_loss: ProxyLoss,
    contrast: InfoNCELoss,
    params: TrainOnTextsParams,
) -> list[Term]:
    """What a batch of texts, embedded as `vectors [batch, dim]`, adds to the loss: proxies, and pairs."""
    terms: list[Term] = []
    device = vectors.device
    if batch.targets is not None:
        terms.append(Term("text", params.proxy_weight, proxy_loss(vectors, batch.targets.to(device))))
    if batch.pairs is not None:
        left, right, items = batch.pairs.left, batch.pairs.right, batch.pairs.items.to(device)
        pairs = contrast(vectors[left], vectors[right], items, batch.pairs.related.to(device))
        terms.append(Term("pairs", params.contrast_weight, pairs))
    return terms


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
    """Texts, and numbers of picture vectors `[pictures]` that hold the proxies in place, if some do.

    `taught` is what the teacher says of each text `[batch, width]`, if there is one.
    """

    texts: TextBatch
    pictures: torch.Tensor | None
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
        pictures: PictureVectors | None,
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
        texts = draw_texts(self.corpus, self.params, rng)
        pictures = None
        if self.pictures is not None:
            pictures = torch.from_numpy(rng.integers(0, len(self.pictures.items), len(texts.texts)))
        return TextPictureBatch(texts, pictures, self.teacher.targets(texts.numbers) if self.teacher else None)

    def __call__(self, batch: TextPictureBatch) -> tuple[torch.Tensor, dict[str, float], int]:
        """Proxy loss of the texts plus that of the pictures, plus the contrast of pairs and the teacher's."""
        proxies = self.proxy_loss.proxies
        texts = encode(self._embed, batch.texts.words.to(proxies.device), self.params.chunk_size)
        terms = text_terms(texts, batch.texts, self.proxy_loss, self.contrast, self.params)
        if self.pictures is not None and batch.pictures is not None:
            image = self._picture_loss(self.pictures, batch.pictures)
            terms.append(Term("image", self.params.image_weight, image))
        if batch.taught is not None and self.params.teacher is not None:
            taught = self.similarity(texts, batch.taught.to(proxies.device))
            terms.append(Term("teacher", self.params.teacher.weight, taught))
        return *weighted_sum(terms), len(batch.texts.texts)

    def _picture_loss(self, pictures: PictureVectors, numbers: torch.Tensor) -> torch.Tensor:
        """Proxy loss of picture vectors by number `[pictures]`."""
        device = self.proxy_loss.proxies.device
        loss: torch.Tensor = self.proxy_loss(pictures.vectors[numbers].to(device), pictures.items[numbers].to(device))
        return loss

    def _embed(self, words: WordBatch) -> torch.Tensor:
        return F.normalize(self.projection(self.encoder(words).pooled).float(), dim=-1)
