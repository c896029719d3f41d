"""The peer `sentence_transformers`: the text encoder of the unified model, trained by that library.

Its Trainer, its MultipleNegativesRankingLoss, its batches without duplicates. The encoder is ours, wrapped as a module
of theirs: the same class and size, so that what differs is how it is trained.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from unimr.errors import UnimrError
from unimr.model.retriever import UnifiedRetriever
from unimr.model.tokenizer import NgramBatch, NgramTokenizer
from unimr.params import Params
from unimr.study.peers.optimizer import two_rates
from unimr.study.peers.pairs import Pairs
from unimr.study.variants import budget_of
from unimr.training.device import THREADS

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

BATCH = 256
WEIGHT_DECAY = 0.02
WARM_UP_SHARE = 0.1


def train(params: Params, tables: Path) -> UnifiedRetriever:
    """Train for the budget of `unified`; a pair is two texts."""
    seed, pairs = params.train_joint.seed, Pairs(params, tables)
    torch.set_num_threads(THREADS)
    torch.manual_seed(seed)
    retriever, encoder = pairs.untrained(params)
    retriever.tokenizer = pairs.tokenizer
    steps = max(1, round(budget_of(params) / (2 * BATCH * params.study.cost.text)))
    optimizer = two_rates(retriever, encoder.ngram_table, params.study.sentence_transformers, WEIGHT_DECAY)
    _fit(
        wrap(retriever, pairs.tokenizer), optimizer, pairs.draw(steps * BATCH, np.random.default_rng(seed)), steps, seed
    )
    return retriever.eval()


def wrap(retriever: UnifiedRetriever, tokenizer: NgramTokenizer) -> SentenceTransformer:
    """The text half of a model as a SentenceTransformer that shares its weights."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import InputModule

    class NgramModule(InputModule):  # type: ignore[misc]  # made here: the library is imported only for this peer
        """Texts in, unit vectors `[batch, dim]` out."""

        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.projection = retriever.text_encoder, retriever.text_projection

        def preprocess(self, inputs: Sequence[str], prompt: str | None = None, **_: object) -> dict[str, Any]:
            """Texts into the features that `forward` takes."""
            words = [tokenizer.words(f"{prompt or ''}{text}") for text in inputs]
            batch = tokenizer.batch(words, few_shapes=True)
            return {"input_ids": batch.words, "batch": batch}  # the library knows a text by its `input_ids`

        def forward(self, features: dict[str, Any], **_: object) -> dict[str, Any]:
            """Adds `sentence_embedding` to the features."""
            batch: NgramBatch = features["batch"].to(retriever.device)
            return features | {"sentence_embedding": retriever.embed_words_alone(batch)}

        def save(self, output_path: str, *_: object, **__: object) -> None:
            """Refuse: the library asks every module for this."""
            raise UnimrError(f"A peer is measured and dropped; it is not saved to {output_path}.")

    return SentenceTransformer(modules=[NgramModule()], device=str(retriever.device))


def _fit(
    model: SentenceTransformer,
    optimizer: torch.optim.Optimizer,
    pairs: Sequence[tuple[str, str]],
    steps: int,
    seed: int,
) -> None:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    from datasets import Dataset
    from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    from sentence_transformers.sentence_transformer.training_args import BatchSamplers
    from transformers import get_linear_schedule_with_warmup

    schedule = get_linear_schedule_with_warmup(optimizer, round(WARM_UP_SHARE * steps), steps)
    anchors, positives = zip(*pairs, strict=True)
    with tempfile.TemporaryDirectory() as folder:
        arguments = SentenceTransformerTrainingArguments(
            output_dir=folder, max_steps=steps, per_device_train_batch_size=BATCH, seed=seed, save_strategy="no",
            logging_strategy="no", report_to=[], disable_tqdm=True, batch_sampler=BatchSamplers.NO_DUPLICATES,
            max_grad_norm=1.0, dataloader_drop_last=True, dataloader_pin_memory=False,
        )  # fmt: skip
        SentenceTransformerTrainer(
            model=model,
            args=arguments,
            train_dataset=Dataset.from_dict({"anchor": anchors, "positive": positives}),
            loss=MultipleNegativesRankingLoss(model),
            optimizers=(optimizer, schedule),
        ).train()
    torch.set_num_threads(THREADS)
