"""The model as a search uses it: a query is understood and embedded in one pass, beside queries of its length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from unimr.data.text import forms
from unimr.model.nlu import Understanding
from unimr.model.retriever import REMEMBERED_WORDS, UnifiedRetriever
from unimr.model.tokenizer import WordBatch

TEXTS_AT_A_TIME = 8
"""Texts are padded to the longest of those they are encoded with: sorted by length, few are far from it."""


class QueryEncoder:
    """A trained model; has what `unimr.index.encoder.Encoder` asks for.

    What was understood last is remembered with its vector, since a search embeds the same words next. One thread at a
    time.

    Raises:
        UnimrError: the model in the folder is missing or damaged.
    """

    def __init__(self, folder: Path) -> None:
        # A single query is too small to be shared between several threads.
        torch.set_num_threads(1)
        self._model = UnifiedRetriever.load(folder)
        self.dim = self._model.dim
        self.compose, self.encode_images = self._model.compose, self._model.encode_images
        self._last: dict[str, np.ndarray] = {}

    @torch.inference_mode()
    def understand(self, texts: Sequence[str]) -> list[Understanding]:
        """Intent and slots of texts."""
        found: dict[str, Understanding] = {}
        self._last = {}
        for part in _of_like_length(texts):
            vectors, nlu = self._model.embed_words(self._batch(part))
            found |= zip(part, self._model.understandings(part, nlu), strict=True)
            self._last |= zip(part, vectors.cpu().numpy(), strict=True)
        return [found[text] for text in texts]

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Embed texts → `[texts, dim]` float32, unit length."""
        found = {text: self._last[text] for text in texts if text in self._last}
        for part in _of_like_length([text for text in texts if text not in found]):
            vectors, _ = self._model.embed_words(self._batch(part))
            found |= zip(part, vectors.cpu().numpy(), strict=True)
        return np.array([found[text] for text in texts], np.float32).reshape(-1, self.dim)

    def _batch(self, texts: Sequence[str]) -> WordBatch:
        tokenizer = self._model.tokenizer
        if tokenizer.size > REMEMBERED_WORDS:
            tokenizer.forget()
        return tokenizer.batch([tokenizer.words(text) for text in texts]).to(self._model.device)


def _of_like_length(texts: Sequence[str]) -> Iterator[list[str]]:
    """The distinct texts, a batch at a time: each time the longest of those that are left."""
    rest = sorted(dict.fromkeys(texts), key=lambda text: len(forms(text)))
    while rest:
        yield rest[-TEXTS_AT_A_TIME:]
        del rest[-TEXTS_AT_A_TIME:]
