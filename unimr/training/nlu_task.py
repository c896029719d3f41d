"""Task of stage `train_nlu`: intent and slots, and the item that each utterance asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

from unimr.data.mixture import draw_shares
from unimr.data.text import segment
from unimr.model.nlu import CATALOGUE_LABELS, Labels, tag_words
from unimr.model.retriever import UnifiedRetriever
from unimr.model.tokenizer import Tokenizer, WordBatch, training_batch
from unimr.params import TrainNluParams
from unimr.training.corpus import drawn_by
from unimr.training.encode import encode_all
from unimr.training.losses.proxy import ProxyLoss

NO_TAG = -100
"""Label of padding, which the loss leaves out."""
LABEL_SMOOTHING = 0.05
TAG_WEIGHT = 3.0
"""Slots have many decisions a sentence and are harder than intents."""


@dataclass(frozen=True, repr=False)
class NluBatch:
    """Utterances, sorted by length.

    Attributes:
        words: their words.
        tags: BIO tag of every word `[batch, tokens]`.
        intents: of every utterance `[batch]`.
        items: the item each asks for, -1 if none `[batch]`.
    """

    words: WordBatch
    tags: torch.Tensor
    intents: torch.Tensor
    items: torch.Tensor
    texts: list[str]

    def __repr__(self) -> str:
        return f"the utterances {'; '.join(self.texts[:5])}; … ({len(self.texts)})"


class UtteranceSet:
    """Annotated train utterances, cut into words once.

    Each is drawn equally often, or by the mixture in the folder `tables` if there is one.
    """

    def __init__(
        self,
        utterances: pd.DataFrame,
        item_ids: Sequence[str],
        tokenizer: Tokenizer,
        labels: Labels = CATALOGUE_LABELS,
        tables: Path | None = None,
    ) -> None:
        number = {item_id: place for place, item_id in enumerate(item_ids)}
        train = utterances[utterances["split"] == "train"]
        self.tokenizer = tokenizer
        self.texts = train["text"].tolist()
        self.words = [tokenizer.words(text) for text in self.texts]
        self.intents = np.array([labels.intents.index(intent) for intent in train["intent"]])
        self.items = np.array([number.get(item_id, -1) for item_id in train["item_id"]])
        self.tags = [
            np.array(tag_words(segment(text)[: tokenizer.max_words], slots, labels) or [0])
            for text, slots in zip(self.texts, train["slots"], strict=True)
        ]
        self._shares = draw_shares(tables, list(train["utterance_id"]), list(train["lang"])) if tables else None

    def batch(self, size: int, rng: np.random.Generator) -> NluBatch:
        """Random utterances."""
        drawn = drawn_by(self._shares, len(self.texts), size, rng)
        words, order = training_batch(self.tokenizer, [self.words[number] for number in drawn])
        numbers = drawn[order]
        return NluBatch(
            words,
            self._padded_tags(numbers, words.layout.mask),
            torch.from_numpy(self.intents[numbers]),
            torch.from_numpy(self.items[numbers]),
            [self.texts[number] for number in numbers],
        )

    def _padded_tags(self, numbers: np.ndarray, mask: torch.Tensor) -> torch.Tensor:
        tags = torch.full(mask.shape, NO_TAG)
        tags[mask] = torch.from_numpy(np.concatenate([self.tags[number] for number in numbers]))
        return tags


def nlu_losses(
    intent_logits: torch.Tensor, tag_logits: torch.Tensor, batch: NluBatch
) -> tuple[torch.Tensor, dict[str, float]]:
    """Cross-entropy of the intents `[batch, intents]` plus, weighted, of the tags of words `[batch, tokens, tags]`."""
    device = intent_logits.device
    intent = F.cross_entropy(intent_logits.float(), batch.intents.to(device), label_smoothing=LABEL_SMOOTHING)
    logits = tag_logits.flatten(0, 1).float()
    tag = F.cross_entropy(logits, batch.tags.flatten().to(device), ignore_index=NO_TAG)
    return intent + TAG_WEIGHT * tag, {"intent": float(intent.detach()), "slots": float(tag.detach())}


def asked_loss(vectors: torch.Tensor, items: torch.Tensor, proxy_loss: ProxyLoss) -> torch.Tensor:
    """Proxy loss of the utterances `[batch, dim]` that ask for an item; `items [batch]` is -1 where none is asked.

    Commands to an assistant ask for none: then it is 0, at no cost.
    """
    if bool((items < 0).all()):
        return vectors.new_zeros(())
    loss: torch.Tensor = proxy_loss(vectors, items.to(vectors.device))
    return loss


class NluTask:
    """Trains the NLU module and fine-tunes the text encoder under it.

    A frozen encoder hides what a phrasing is made of: trained to find items, it gives "not" and "like" little room.
    What keeps it in the space of stage 1 is that the utterances also have to find their items, with projection and
    proxies locked.
    """

    def __init__(
        self, params: TrainNluParams, model: UnifiedRetriever, proxy_loss: ProxyLoss, utterances: UtteranceSet
    ) -> None:
        self.params, self.utterances, self.model = params, utterances, model
        self.proxy_loss = proxy_loss.requires_grad_(False)
        model.text_projection.requires_grad_(False)
        self.module = nn.ModuleDict({"nlu": model.nlu, "text_encoder": model.text_encoder})

    def table(self) -> list[nn.Parameter]:
        """Those of the text encoder."""
        return self.model.text_encoder.sparse_parameters()

    def batch(self, rng: np.random.Generator) -> NluBatch:
        """Random utterances."""
        return self.utterances.batch(self.params.batch_size, rng)

    def __call__(self, batch: NluBatch) -> tuple[torch.Tensor, dict[str, float], int]:
        """Intent and slot losses, and that of the items asked for."""
        device = self.model.device
        self.model.text_projection.to(device)
        self.proxy_loss.to(device)
        vectors, intents, tags = encode_all(self._understand, batch.words.to(device), self.params.chunk_size)
        loss, report = nlu_losses(intents, tags, batch)
        asked = asked_loss(vectors, batch.items, self.proxy_loss)
        return loss + self.params.asked_weight * asked, report | {"asked": float(asked.detach())}, len(batch.texts)

    def _understand(self, words: WordBatch) -> tuple[torch.Tensor, ...]:
        """Unit vectors `[batch, dim]`, logits of intents `[batch, intents]` and of tags `[batch, tokens, tags]`."""
        text = self.model.text_encoder(words)
        nlu = self.model.nlu(text)
        return self.model.project(text.pooled), nlu.intent_logits, nlu.tag_logits
