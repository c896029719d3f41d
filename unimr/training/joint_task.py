"""Task of stage `train_joint`: texts, pictures, query understanding and picture + words, in one model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from unimr.files import read_json
from unimr.model.retriever import UnifiedRetriever
from unimr.model.tokenizer import Tokenizer, WordBatch, training_batch
from unimr.params import TrainJointParams
from unimr.training.augment import augment
from unimr.training.corpus import TextCorpus
from unimr.training.encode import chunk_of, encode, encode_all
from unimr.training.image_task import ImageBatch, draw_pictures, embed_augmented, picture_losses
from unimr.training.losses.info_nce import InfoNCELoss
from unimr.training.losses.proxy import ProxyLoss
from unimr.training.nlu_task import NluBatch, UtteranceSet, asked_loss, nlu_losses
from unimr.training.pictures import Pictures
from unimr.training.text_task import TextBatch, draw_texts, text_terms, weighted_sum

COMPOSED_BATCH = 32
"""Picture + words pairs a step."""
CONTRAST_WEIGHT = 0.5
COMPOSED_WEIGHT = 0.25


@dataclass(frozen=True)
class Composition:
    """A base item, its variant, and the words for the difference in each language."""

    base: int
    variant: int
    words: tuple[np.ndarray, ...]


def read_compositions(path: Path, item_ids: Sequence[str], tokenizer: Tokenizer) -> list[Composition]:
    """Read `compositions.json`, the (base, variant, words) triples that training may compose."""
    number = {item_id: place for place, item_id in enumerate(item_ids)}
    return [
        Composition(number[row["base"]], number[row["variant"]], tuple(tokenizer.words(text) for text in row["words"]))
        for row in read_json(path)
        if row["base"] in number and row["variant"] in number
    ]


@dataclass(frozen=True, repr=False)
class ComposedBatch:
    """Base pictures `[pairs, 4, side, side]`, words, and the variants asked for `[pairs]`."""

    rgba: torch.Tensor
    words: WordBatch
    variants: torch.Tensor


@dataclass(frozen=True, repr=False)
class CaptionBatch:
    """Captions of the pictures of an `ImageBatch`, as many of each, sorted by length.

    `order` says which picture each is of, `items` of which item `[captions]`; `first` and `second` are the places of
    two captions of each picture `[pictures]`, the same one where one is drawn.
    """

    words: WordBatch
    order: torch.Tensor
    items: torch.Tensor
    first: torch.Tensor
    second: torch.Tensor


@dataclass(frozen=True)
class JointBatch:
    """One batch of each kind that is trained."""

    texts: TextBatch
    pictures: ImageBatch | None
    captions: CaptionBatch | None
    utterances: NluBatch | None
    composed: ComposedBatch | None


@dataclass(frozen=True)
class JointData:
    """Everything stage 3 trains on."""

    corpus: TextCorpus
    pictures: Pictures
    utterances: UtteranceSet
    compositions: list[Composition]


class JointTask:
    """Fine-tunes everything; the proxies and the word counts come from the earlier stages."""

    def __init__(
        self,
        params: TrainJointParams,
        retriever: UnifiedRetriever,
        proxy_loss: ProxyLoss,
        data: JointData,
    ) -> None:
        self.params, self.data = params, data
        self.retriever, self.proxy_loss, self.contrast = retriever, proxy_loss, InfoNCELoss()
        self.module = nn.ModuleDict({"retriever": retriever, "proxy_loss": proxy_loss, "contrast": self.contrast})
        self.caption_contrast, self.text_contrast = InfoNCELoss(), InfoNCELoss()
        if params.caption_weight:
            self.module["caption_contrast"] = self.caption_contrast
        if params.contrast_weight:
            self.module["text_contrast"] = self.text_contrast

    def table(self) -> list[nn.Parameter]:
        """Those of the text encoder."""
        return self.retriever.text_encoder.sparse_parameters()

    def batch(self, rng: np.random.Generator) -> JointBatch:
        """Texts, pictures, utterances and compositions."""
        params, texts = self.params, draw_texts(self.data.corpus, self.params, rng)
        pictured = params.image_weight or params.caption_weight
        pictures = draw_pictures(self.data.pictures, params.image_batch_size, rng) if pictured else None
        return JointBatch(
            texts,
            pictures,
            self._draw_captions(pictures, rng) if pictures and params.caption_weight else None,
            self.data.utterances.batch(params.nlu_batch_size, rng) if params.nlu_batch_size else None,
            self._draw_compositions(rng) if pictures and self.data.compositions else None,
        )

    def _draw_captions(self, pictures: ImageBatch, rng: np.random.Generator) -> CaptionBatch:
        """Captions of every picture."""
        corpus, items = self.data.corpus, pictures.items.tolist()
        items *= len(pictures.rgba) // len(items)
        captioned = [place for place, item in enumerate(items) if corpus.has_caption(item)]
        shown = np.repeat(captioned, self.params.captions)
        dropped = [
            corpus.dropped(corpus.caption(items[place], rng), rng, self.params.word_dropout, self.params.window_words)
            for place in shown
        ]
        words, order = training_batch(corpus.tokenizer, dropped)
        places = torch.from_numpy(shown[order])
        of_picture = torch.from_numpy(np.argsort(order).reshape(-1, self.params.captions))
        return CaptionBatch(
            words, places, pictures.items[places % len(pictures.items)], of_picture[:, 0], of_picture[:, -1]
        )

    def _draw_compositions(self, rng: np.random.Generator) -> ComposedBatch:
        places = rng.integers(0, len(self.data.compositions), COMPOSED_BATCH)
        chosen = [self.data.compositions[place] for place in places]
        words = [pair.words[rng.integers(len(pair.words))] for pair in chosen]
        pictures, _ = self.data.pictures.pairs(np.array([pair.base for pair in chosen]), rng)
        variants = torch.tensor([pair.variant for pair in chosen])
        changes = self.data.corpus.tokenizer.batch(words, few_shapes=True)
        return ComposedBatch(self.data.pictures.pixels(pictures), changes, variants)

    def __call__(self, batch: JointBatch) -> tuple[torch.Tensor, dict[str, float], int]:
        """Weighted sum of the losses of all kinds that are trained."""
        vectors = self._encode(batch.texts.words)
        terms = text_terms(vectors, batch.texts, self.proxy_loss, self.text_contrast, self.params)
        (loss, report), samples = weighted_sum(terms), len(batch.texts.texts)
        if batch.pictures is not None:
            pictures, of_pictures = self._picture_loss(batch.pictures, batch.captions)
            loss, report, samples = loss + pictures, report | of_pictures, samples + len(batch.pictures.rgba)
        if batch.utterances is not None:
            asked, nlu, of_utterances = self._utterance_losses(batch.utterances)
            loss = loss + asked + self.params.nlu_weight * nlu
            report |= {"asked": float(asked.detach())} | of_utterances
            samples += len(batch.utterances.texts)
        if batch.composed is not None:
            composed = self._composed_loss(batch.composed)
            loss = loss + COMPOSED_WEIGHT * composed
            report["composed"] = float(composed.detach())
        return loss, report, samples

    def _picture_loss(self, batch: ImageBatch, captions: CaptionBatch | None) -> tuple[torch.Tensor, dict[str, float]]:
        """Weighted sum of the losses of pictures: against proxies and each other, and against their captions."""
        encoder, device = self.retriever.image_encoder, self.proxy_loss.proxies.device
        vectors = embed_augmented(encoder, batch, device, self.params.chunk_size, self.params.augmentation)
        loss, report = vectors.new_zeros(()), dict[str, float]()
        if self.params.image_weight:
            pictures, report = picture_losses(vectors, self.proxy_loss, self.contrast, batch, CONTRAST_WEIGHT)
            loss = self.params.image_weight * pictures
        if captions is not None:
            captioned, of_captions = self._caption_losses(vectors, captions)
            loss, report = loss + captioned, report | of_captions
        return loss, report

    def _embed(self, words: WordBatch) -> torch.Tensor:
        return self.retriever.embed(words, learn_nlu=False)

    def _encode(self, words: WordBatch) -> torch.Tensor:
        return encode(self._embed, words.to(self.proxy_loss.proxies.device), self.params.chunk_size)

    def _utterance_losses(self, batch: NluBatch) -> tuple[torch.Tensor, torch.Tensor, dict[str, float]]:
        """Utterances teach understanding, and those that ask for an item its proxy, from one forward pass."""
        device = self.proxy_loss.proxies.device
        vectors, intents, tags = encode_all(self._understand, batch.words.to(device), self.params.chunk_size)
        nlu, report = nlu_losses(intents, tags, batch)
        return asked_loss(vectors, batch.items, self.proxy_loss), nlu, report

    def _understand(self, words: WordBatch) -> tuple[torch.Tensor, ...]:
        """Unit vectors `[batch, dim]`, logits of intents `[batch, intents]` and of tags `[batch, tokens, tags]`."""
        vectors, nlu = self.retriever.embed_words(words)
        return vectors, nlu.intent_logits, nlu.tag_logits

    def _caption_losses(self, pictures: torch.Tensor, batch: CaptionBatch) -> tuple[torch.Tensor, dict[str, float]]:
        """Contrast of every picture `[pictures, dim]` with its captions, and of two captions of it with each other.

        The others of the batch are against them. The second costs next to nothing, since the captions are encoded.
        """
        captions = self._encode(batch.words)
        shown, items = pictures[batch.order.to(pictures.device)], batch.items.to(pictures.device)
        contrast = self.caption_contrast(shown, captions, items)
        loss, report = self.params.caption_weight * contrast, {"captions": float(contrast.detach())}
        if self.params.contrast_weight and self.params.captions > 1:
            pairs = self.text_contrast(captions[batch.first], captions[batch.second], items[batch.first])
            loss, report = loss + self.params.contrast_weight * pairs, report | {"alike": float(pairs.detach())}
        return loss, report

    def _composed_loss(self, batch: ComposedBatch) -> torch.Tensor:
        device = self.proxy_loss.proxies.device
        chunk_size = chunk_of(self.retriever.image_encoder, self.params.chunk_size)
        image = encode(self.retriever.embed_pixels, augment(batch.rgba.to(device)), chunk_size)
        vectors = self.retriever.embed_composed(image, self._encode(batch.words))
        loss: torch.Tensor = self.proxy_loss(vectors, batch.variants.to(device))
        return loss
