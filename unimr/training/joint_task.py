"""Task of stage `train_joint`: texts, pictures, query understanding and picture + words, in one model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from unimr.files import read_json
from unimr.model.retriever import UnifiedRetriever
from unimr.model.tokenizer import NgramTokenizer, WordBatch, in_parts
from unimr.params import TrainJointParams
from unimr.training.augment import augment
from unimr.training.corpus import TextCorpus
from unimr.training.encode import chunk_of, encode, encode_all
from unimr.training.image_task import ImageBatch, draw_pictures, embed_augmented, picture_losses
from unimr.training.losses.info_nce import InfoNCELoss
from unimr.training.losses.proxy import ProxyLoss
from unimr.training.nlu_task import NluBatch, UtteranceSet, asked_loss, nlu_losses
from unimr.training.pictures import Pictures
from unimr.training.text_task import PARTS, TextBatch, draw_texts, text_loss

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


def read_compositions(path: Path, item_ids: Sequence[str], tokenizer: NgramTokenizer) -> list[Composition]:
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
    """A caption of each picture of an `ImageBatch`, in parts of like length; `order` says whose `[captions]`."""

    parts: list[WordBatch]
    order: torch.Tensor


@dataclass(frozen=True)
class JointBatch:
    """One batch of each kind."""

    texts: TextBatch
    pictures: ImageBatch
    captions: CaptionBatch | None
    utterances: NluBatch
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
        self.caption_contrast = InfoNCELoss()
        if params.caption_weight:
            self.module["caption_contrast"] = self.caption_contrast

    def table(self) -> list[nn.Parameter]:
        """The n-gram table."""
        return [self.retriever.text_encoder.ngram_table]

    def batch(self, rng: np.random.Generator) -> JointBatch:
        """Texts, pictures, utterances and compositions."""
        texts = draw_texts(self.data.corpus, self.params.batch_size, rng)
        pictures = draw_pictures(self.data.pictures, self.params.image_batch_size, rng)
        return JointBatch(
            texts,
            pictures,
            self._draw_captions(pictures, rng) if self.params.caption_weight else None,
            self.data.utterances.batch(self.params.nlu_batch_size, rng),
            self._draw_compositions(rng) if self.data.compositions else None,
        )

    def _draw_captions(self, pictures: ImageBatch, rng: np.random.Generator) -> CaptionBatch:
        """A caption of each of the two views of every picture, in two languages as a rule."""
        corpus, items = self.data.corpus, pictures.items.tolist()
        shown = np.array([place for place, item in enumerate([*items, *items]) if corpus.has_caption(item)])
        words = [corpus.dropped(corpus.caption(items[place % len(items)], rng), rng) for place in shown]
        parts, order = in_parts(corpus.tokenizer, words, PARTS)
        return CaptionBatch(parts, torch.from_numpy(shown[order]))

    def _draw_compositions(self, rng: np.random.Generator) -> ComposedBatch:
        places = rng.integers(0, len(self.data.compositions), COMPOSED_BATCH)
        chosen = [self.data.compositions[place] for place in places]
        words = [pair.words[rng.integers(len(pair.words))] for pair in chosen]
        pictures, _ = self.data.pictures.pairs(np.array([pair.base for pair in chosen]), rng)
        variants = torch.tensor([pair.variant for pair in chosen])
        changes = self.data.corpus.tokenizer.batch(words, few_shapes=True)
        return ComposedBatch(self.data.pictures.pixels(pictures), changes, variants)

    def __call__(self, batch: JointBatch) -> tuple[torch.Tensor, dict[str, float], int]:
        """Weighted sum of the losses of all kinds."""
        text = text_loss(self._embed, self.proxy_loss, batch.texts, self.params.chunk_size)
        report = {"text": float(text.detach())}
        encoder, device = self.retriever.image_encoder, self.proxy_loss.proxies.device
        vectors = embed_augmented(encoder, batch.pictures, device, self.params.chunk_size)
        pictures, picture_report = picture_losses(
            vectors, self.proxy_loss, self.contrast, batch.pictures, CONTRAST_WEIGHT
        )
        asked, nlu, nlu_report = self._utterance_losses(batch.utterances)
        loss = text + asked + self.params.image_weight * pictures + self.params.nlu_weight * nlu
        if batch.captions is not None:
            captions = self._caption_loss(vectors, batch.pictures.items, batch.captions)
            loss = loss + self.params.caption_weight * captions
            report["captions"] = float(captions.detach())
        if batch.composed is not None:
            composed = self._composed_loss(batch.composed)
            loss = loss + COMPOSED_WEIGHT * composed
            report["composed"] = float(composed.detach())
        samples = len(batch.texts.texts) + len(batch.pictures.rgba) + len(batch.utterances.texts)
        return loss, report | {"asked": float(asked.detach())} | picture_report | nlu_report, samples

    def _embed(self, words: WordBatch) -> torch.Tensor:
        return self.retriever.embed_words(words, learn_nlu=False)[0]

    def _encode(self, words: WordBatch) -> torch.Tensor:
        return encode(self._embed, words, self.params.chunk_size)

    def _utterance_losses(self, batch: NluBatch) -> tuple[torch.Tensor, torch.Tensor, dict[str, float]]:
        """Utterances teach understanding, and those that ask for an item its proxy, from one forward pass."""
        device = self.proxy_loss.proxies.device
        found = [encode_all(self._understand, part.to(device), self.params.chunk_size) for part in batch.parts]
        vectors, intents, tags = zip(*found, strict=True)
        nlu, report = nlu_losses(intents, tags, batch)
        return asked_loss(torch.cat(vectors), batch.items, self.proxy_loss), nlu, report

    def _understand(self, words: WordBatch) -> tuple[torch.Tensor, ...]:
        """Unit vectors `[part, dim]`, logits of intents `[part, intents]` and of tags `[part, tokens, tags]`."""
        vectors, nlu = self.retriever.embed_words(words)
        return vectors, nlu.intent_logits, nlu.tag_logits

    def _caption_loss(self, pictures: torch.Tensor, items: torch.Tensor, batch: CaptionBatch) -> torch.Tensor:
        """Contrast of every picture `[2 * items, dim]` with its caption, the other captions of the batch against it."""
        captions = torch.cat([self._encode(part.to(pictures.device)) for part in batch.parts])
        of_caption = torch.cat([items, items])[batch.order].to(pictures.device)
        loss: torch.Tensor = self.caption_contrast(pictures[batch.order.to(pictures.device)], captions, of_caption)
        return loss

    def _composed_loss(self, batch: ComposedBatch) -> torch.Tensor:
        device = self.proxy_loss.proxies.device
        chunk_size = chunk_of(self.retriever.image_encoder, self.params.chunk_size)
        image = encode(self.retriever.embed_pixels, augment(batch.rgba.to(device)), chunk_size)
        vectors = self.retriever.embed_composed(image, self._encode(batch.words.to(device)))
        targets = F.one_hot(batch.variants.to(device), len(self.proxy_loss.proxies)).float()
        loss: torch.Tensor = self.proxy_loss(vectors, targets)
        return loss
