"""The peer `clip`: the towers of the unified model, trained as open_clip trains.

open_clip itself imports torchvision, so what it does is written out here: the symmetric softmax over the batch with a
learned scale (Radford et al. 2021, "CLIP", section 2.3), AdamW with decay on matrices alone, a cosine after a warm-up,
no gradient clipping, and pairs of a picture with a text of it. Where open_clip is installed a test compares the loss.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import nn

from unimr.model.retriever import UnifiedRetriever
from unimr.params import Params
from unimr.study.peers.optimizer import two_rates
from unimr.study.peers.pairs import Pairs
from unimr.study.variants import budget_of
from unimr.training.augment import augment
from unimr.training.device import THREADS, mixed_precision
from unimr.training.pictures import Pictures

BATCH = 128
WEIGHT_DECAY = 0.2
WARM_UP_SHARE = 0.1
MAX_SCALE = 100.0


def clip_loss(images: torch.Tensor, texts: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Mean of the cross-entropies picture → text and text → picture; unit vectors `[batch, dim]` → a scalar."""
    logits = scale * images @ texts.T
    right = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right)) / 2


def cosine(step: int, steps: int, warm_up: int) -> float:
    """Factor of the learning rate: up in a line, down to 0 by a cosine."""
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(steps - warm_up, 1)))


class ClipModel(nn.Module):
    """The two towers and the logarithm of the scale, which begins at 1 / 0.07."""

    def __init__(self, retriever: UnifiedRetriever) -> None:
        super().__init__()
        self.retriever = retriever
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))


def train(params: Params, tables: Path) -> UnifiedRetriever:
    """Train for the budget of `unified`; a pair is a text and a picture."""
    torch.set_num_threads(THREADS)
    seed, cost = params.train_joint.seed, params.study.cost
    pairs, pictures = Pairs(params, tables), Pictures.read(tables, params.model.image.image_size)
    items = pictures.items()
    shown = np.flatnonzero([pairs.has_caption(int(item)) for item in items])
    batch = min(BATCH, len(shown))
    steps = max(1, round(budget_of(params) / (batch * (cost.text + cost.picture))))
    torch.manual_seed(seed)
    retriever, encoder = pairs.untrained(params)
    model = ClipModel(retriever)
    accelerator = Accelerator(mixed_precision=mixed_precision())
    model.to(accelerator.device).train()
    optimizer = two_rates(model, encoder.ngram_table, params.study.clip, WEIGHT_DECAY)
    for step, numbers in enumerate(_epochs(shown, batch, steps, seed)):
        rng = np.random.default_rng([seed, step])
        texts = [pairs.caption(int(items[number]), rng) for number in numbers]
        torch.manual_seed(seed * 1_000_003 + step)
        optimizer.zero_grad(set_to_none=True)
        with accelerator.autocast():
            loss = _loss(model, pairs, pictures.pixels(numbers).to(accelerator.device), texts)
        accelerator.backward(loss)
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * cosine(step, steps, round(WARM_UP_SHARE * steps))
        optimizer.step()
        with torch.no_grad():
            model.log_scale.clamp_(0, math.log(MAX_SCALE))
    return model.retriever.eval()


def _loss(model: ClipModel, pairs: Pairs, rgba: torch.Tensor, texts: list[str]) -> torch.Tensor:
    retriever = model.retriever
    words = pairs.tokenizer.batch([pairs.tokenizer.words(text) for text in texts], few_shapes=True)
    vectors = retriever.embed_words_alone(words.to(retriever.device))
    return clip_loss(retriever.embed_pixels(augment(rgba)), vectors, model.log_scale.exp())


def _epochs(pictures: np.ndarray, batch: int, steps: int, seed: int) -> list[np.ndarray]:
    """`steps` batches of picture numbers: every picture once an epoch, in another order each time."""
    rng, order = np.random.default_rng(seed), pictures[:0]
    while len(order) < steps * batch:
        order = np.concatenate([order, rng.permutation(pictures)[: len(pictures) // batch * batch]])
    return list(order[: steps * batch].reshape(steps, batch))
