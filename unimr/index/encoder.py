"""What the index and the search need of a model (`unimr.model.retriever.UnifiedRetriever` has it)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from unimr.model.nlu import Understanding


class Encoder(Protocol):
    """A model that embeds texts and pictures into one space and understands queries."""

    dim: int

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Texts → `[texts, dim]` float32, unit length."""

    def encode_images(self, images: Sequence[bytes]) -> np.ndarray:
        """Encoded pictures → `[pictures, dim]` float32, unit length."""

    def compose(self, image_vectors: np.ndarray, text_vectors: np.ndarray) -> np.ndarray:
        """Picture + words → `[queries, dim]` float32, unit length."""

    def understand(self, texts: Sequence[str]) -> list[Understanding]:
        """Intent and slots of texts."""


class CatalogueEncoder(Encoder, Protocol):
    """A model that also embeds a catalogue, which grows, always in the same way."""

    def encode_texts_alike(self, texts: Sequence[str]) -> np.ndarray:
        """Texts → `[texts, dim]` as `encode_texts`, each to the same bytes whatever stands beside it."""
