"""The NLU module: intent and slots of a query, and features that tell the retriever what the query is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import nn

from unimr.data.text import Word
from unimr.files import read_json
from unimr.model.text_encoder import TextStates, TransformerLayer, attention_pool
from unimr.model_params import NluParams

INTENTS = ("find_image", "find_text", "filter_set", "find_similar", "out_of_scope")
SLOTS = ("subject", "skin_tone", "gender", "style", "category", "time", "count")
CONTENT_SLOT = "subject"
"""The slot that says what a query is about; where the labels lack it, every slot does."""


@dataclass(frozen=True)
class Labels:
    """The intents and slot labels that a model tells apart: those of the default catalogue, or of published data."""

    intents: tuple[str, ...] = INTENTS
    slots: tuple[str, ...] = SLOTS

    @classmethod
    def read(cls, path: Path) -> Labels:
        """The labels in a `labels.json`, of a data folder or a model; those of the default catalogue if there is none.

        Raises:
            UnimrError: the file is no JSON.
        """
        if not path.exists():
            return cls()
        found = read_json(path)
        return cls(tuple(found["intents"]), tuple(found["slots"]))

    @cached_property
    def tags(self) -> tuple[str, ...]:
        """BIO tags of a word; `B-subject` begins a subject, `I-subject` continues it."""
        return ("O", *(f"{prefix}-{slot}" for slot in self.slots for prefix in ("B", "I")))

    @cached_property
    def starts(self) -> np.ndarray:
        """Whether a text can begin with a tag `[tags]`."""
        return np.array([tag[0] != "I" for tag in self.tags])

    @cached_property
    def follows(self) -> np.ndarray:
        """Whether a tag can follow another `[tag before, tag]`: `I-` continues its own slot only."""
        return np.array([[tag[0] != "I" or before[1:] == tag[1:] for tag in self.tags] for before in self.tags])

    @cached_property
    def content_tags(self) -> list[int]:
        """Tags of the words that a query is about."""
        slots = (CONTENT_SLOT,) if CONTENT_SLOT in self.slots else self.slots
        return [self.tags.index(f"{prefix}-{slot}") for slot in slots for prefix in ("B", "I")]


CATALOGUE_LABELS = Labels()
TAGS = CATALOGUE_LABELS.tags


@dataclass(frozen=True)
class PredictedSlot:
    """A slot found in a query: `text[start:end]`, its label and the model's mean probability for it."""

    start: int
    end: int
    label: str
    text: str
    confidence: float


@dataclass(frozen=True)
class Understanding:
    """What a query asks for."""

    intent: str
    confidence: float
    slots: tuple[PredictedSlot, ...]


@dataclass(frozen=True)
class NluOutput:
    """What the module says of a batch.

    Attributes:
        intent_logits: `[batch, intents]`.
        tag_logits: of the BIO tag of every word `[batch, tokens, tags]`.
        features: what the query is about, for the fusion `[batch, dim]`.
    """

    intent_logits: torch.Tensor
    tag_logits: torch.Tensor
    features: torch.Tensor


class NluModule(nn.Module):
    """Intent and slots from the encoder's word states, by transformer layers of its own.

    The features are the word states pooled by how probably each word belongs to the subject (content against
    noise), plus the expected intent (arXiv 2601.14714, the NLU features fused into the text encoder).
    """

    def __init__(self, params: NluParams, dim: int, labels: Labels = CATALOGUE_LABELS) -> None:
        super().__init__()
        self.labels = labels
        self.mix = nn.Linear(2 * dim, dim)
        self.layers = nn.ModuleList(TransformerLayer(dim, params.heads) for _ in range(params.layers))
        self.norm = nn.LayerNorm(dim)
        self.intent_score = nn.Linear(dim, 1)
        self.intent = nn.Linear(dim, len(labels.intents))
        self.tags = nn.Linear(dim, len(labels.tags))
        self.intent_feature = nn.Linear(len(labels.intents), dim, bias=False)
        self.content = nn.Linear(dim, dim)
        nn.init.zeros_(self.intent_feature.weight)
        with torch.no_grad():  # not by `nn.init.eye_`, which is slow where the model is `unfilled`
            self.content.weight.zero_().fill_diagonal_(1.0)

    def forward(self, text: TextStates, learn: bool = True) -> NluOutput:
        """Understand a batch of encoded texts.

        With `learn=False` losses on the features reach the encoder, but not what is understood: names and keywords
        have no intent to learn, and most of the time of their gradient goes there.
        """
        with torch.set_grad_enabled(learn and torch.is_grad_enabled()):
            intent_logits, tag_logits = self._understand(text)
        subject = tag_logits.float().softmax(-1)[..., self.labels.content_tags].sum(-1)
        content = attention_pool(text.states, subject.clamp_min(1e-3).log() + text.scores.float(), text.layout)
        features = self.content(content) + self.intent_feature(intent_logits.float().softmax(-1).to(content.dtype))
        return NluOutput(intent_logits, text.layout.padded(tag_logits), features)

    def _understand(self, text: TextStates) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits of the intent `[batch, intents]` and of the tags `[words, tags]`."""
        # Words as they are tell a phrasing apart; words in context, which are trained to find items, hide it.
        states = self.mix(torch.cat([text.words, text.states], dim=-1))
        for layer in self.layers:
            states = layer(states, text.layout)
        states = self.norm(states)
        pooled = attention_pool(states, self.intent_score(states).squeeze(-1), text.layout)
        return self.intent(pooled), self.tags(states)


class FusionGate(nn.Module):
    """Mixes the NLU features into the pooled text vector, dimension by dimension."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gate = nn.Linear(2 * dim, dim)
        nn.init.zeros_(self.gate.weight)
        nn.init.constant_(self.gate.bias, -2.0)

    def forward(self, pooled: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """`pooled [batch, dim]`, `features [batch, dim]` → `[batch, dim]`."""
        gate = torch.sigmoid(self.gate(torch.cat([pooled, features], dim=-1)))
        return pooled + gate * (features - pooled)


def tag_words(
    words: Sequence[Word], slots: Sequence[dict[str, object]], labels: Labels = CATALOGUE_LABELS
) -> list[int]:
    """BIO tag numbers of the words of a text, from its annotated slots."""
    tags = []
    for word in words:
        tag = 0
        for slot in slots:
            if slot["start"] <= word.start and word.end <= slot["end"]:  # type: ignore[operator]
                tag = labels.tags.index(f"{'B' if word.start == slot['start'] else 'I'}-{slot['label']}")
        tags.append(tag)
    return tags


def decode_slots(
    text: str, words: Sequence[Word], probabilities: torch.Tensor, labels: Labels = CATALOGUE_LABELS
) -> tuple[PredictedSlot, ...]:
    """Spans of a text from its tag probabilities `[words, tags]`."""
    spans: list[tuple[str, int, int, list[float]]] = []
    for word, number, confidence in zip(words, *best_tags(probabilities.numpy()[: len(words)], labels), strict=True):
        tag = labels.tags[number]
        if tag[0] == "I":
            label, start, _, values = spans[-1]
            spans[-1] = (label, start, word.end, [*values, confidence])
        elif tag != "O":
            spans.append((tag[2:], word.start, word.end, [confidence]))
    return tuple(
        PredictedSlot(start, end, label, text[start:end], sum(values) / len(values))
        for label, start, end, values in spans
    )


def best_tags(probabilities: np.ndarray, labels: Labels = CATALOGUE_LABELS) -> tuple[list[int], list[float]]:
    """The most probable sequence of tags in which every `I-` continues its own slot, and the probability of each.

    Viterbi over the words, with transitions that are allowed or not. Word by word, one uncertain word in the middle
    would cut a span in two, or begin it with its second word.

    Args:
        probabilities: of the tags of each word `[words, tags]`.
        labels: what the tags are.
    """
    if not len(probabilities):
        return [], []
    scores = np.log(probabilities + 1e-9)
    total = np.where(labels.starts, scores[0], -np.inf)
    back = []
    for score in scores[1:]:
        reached = total[:, None] + np.where(labels.follows, 0.0, -np.inf)  # [tag before, tag]
        back.append(reached.argmax(0))
        total = reached.max(0) + score
    tags = [int(total.argmax())]
    for best in reversed(back):
        tags.append(int(best[tags[-1]]))
    tags.reverse()
    return tags, probabilities[np.arange(len(tags)), tags].tolist()
