"""Two towers of transformers' classes with random weights, and random data for them, for `tests.bench.gpu`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from transformers import ViTConfig, ViTModel, XLMRobertaConfig, XLMRobertaModel

from unimr.training.encode import encode
from unimr.training.losses.info_nce import InfoNCELoss


@dataclass(frozen=True)
class Size:
    """Shape of both towers: width, layers, heads; of the texts, and of the pictures and their patches."""

    dim: int
    layers: int
    heads: int
    vocabulary: int
    tokens: int
    side: int
    patch: int

    @property
    def patches(self) -> int:
        """Tokens of a picture, with the one that stands for all."""
        return (self.side // self.patch) ** 2 + 1


SIZES = {
    "base": Size(768, 12, 12, 250_002, 32, 224, 16),  # XLM-R-base and ViT-B/16
    "small": Size(384, 6, 6, 2_000, 32, 112, 16),
    "tiny": Size(32, 2, 2, 200, 8, 32, 16),
}


class TextTower(nn.Module):
    def __init__(self, size: Size) -> None:
        super().__init__()
        shape = {"hidden_size": size.dim, "num_hidden_layers": size.layers, "num_attention_heads": size.heads}
        config = XLMRobertaConfig(vocab_size=size.vocabulary, intermediate_size=4 * size.dim, **shape)
        config.max_position_embeddings, config.hidden_dropout_prob, config.attention_probs_dropout_prob = 514, 0.0, 0.0
        self.backbone = XLMRobertaModel(config, add_pooling_layer=False)
        self.project = nn.Linear(size.dim, 512 if size.dim > 512 else size.dim)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        states = self.backbone(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        return F.normalize(self.project(states.mean(1)).float(), dim=-1)


class ImageTower(nn.Module):
    def __init__(self, size: Size) -> None:
        super().__init__()
        shape = {"hidden_size": size.dim, "num_hidden_layers": size.layers, "num_attention_heads": size.heads}
        config = ViTConfig(image_size=size.side, patch_size=size.patch, intermediate_size=4 * size.dim, **shape)
        self.backbone = ViTModel(config, add_pooling_layer=False)
        self.project = nn.Linear(size.dim, 512 if size.dim > 512 else size.dim)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        states = self.backbone(pixel_values=pixels.float() / 127.5 - 1).last_hidden_state
        return F.normalize(self.project(states[:, 0]).float(), dim=-1)


@dataclass(frozen=True, repr=False)
class Pairs:
    """Pictures `[batch, 3, side, side]` uint8 and token numbers `[batch, tokens]`."""

    pictures: torch.Tensor
    ids: torch.Tensor


class PairTask:
    """Pictures against their texts, as a task of `unimr.training.loop`."""

    def __init__(self, size: Size, batch_size: int, chunk_size: int) -> None:
        torch.manual_seed(0)
        self.size, self.batch_size, self.chunk_size = size, batch_size, chunk_size
        self.contrast = InfoNCELoss()
        self.module = nn.ModuleDict({"text": TextTower(size), "image": ImageTower(size), "contrast": self.contrast})
        rng = np.random.default_rng(0)
        self.pictures = torch.from_numpy(rng.integers(0, 256, (2048, 3, size.side, size.side), dtype=np.uint8))

    def table(self) -> list[nn.Parameter]:
        return []

    def batch(self, rng: np.random.Generator) -> Pairs:
        numbers = torch.from_numpy(rng.integers(0, len(self.pictures), self.batch_size))
        ids = rng.integers(5, self.size.vocabulary, (self.batch_size, self.size.tokens))
        return Pairs(self.pictures[numbers], torch.from_numpy(ids))

    def __call__(self, batch: Pairs) -> tuple[torch.Tensor, dict[str, float], int]:
        device = self.contrast.log_inverse_temperature.device
        images = encode(self.module["image"], batch.pictures.to(device), self.chunk_size)
        texts = encode(self.module["text"], batch.ids.to(device), self.chunk_size)
        loss = self.contrast(images, texts, torch.arange(len(images), device=device))
        return loss, {"pairs": float(loss.detach())}, len(images)


def plain_loss(module: nn.ModuleDict, batch: Pairs, device: torch.device) -> torch.Tensor:
    """The loss of a step in the way of open_clip's training loop: both towers whole, cross-entropy both ways."""
    images, texts = module["image"](batch.pictures.to(device)), module["text"](batch.ids.to(device))
    logits = module["contrast"].log_inverse_temperature.exp() * images @ texts.T
    labels = torch.arange(len(logits), device=device)
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def flops_of_a_pair(size: Size) -> float:
    """Floating-point operations of training on one pair, forward and backward.

    A token costs 2 a weight of the layers (12 dim^2 a layer) and 4 dim a token of its sequence in the attention; the
    backward pass twice as much (Kaplan et al. 2020, section 2.1). What gradient caching computes twice counts once.
    """
    forward = sum(
        tokens * size.layers * (24 * size.dim**2 + 4 * size.dim * tokens) for tokens in (size.tokens, size.patches)
    )
    return 3.0 * (forward + (size.patches - 1) * 2 * 3 * size.patch**2 * size.dim)
