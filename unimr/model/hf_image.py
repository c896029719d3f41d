"""The `hf` image encoder: the vision tower of a Hugging Face model (SigLIP, SigLIP 2, CLIP, DINOv2, ViT)."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from unimr.files import read_json, write_json
from unimr.model.hf import HfEncoder, build_backbone
from unimr.model_params import HfImageParams

log = logging.getLogger(__name__)

PREPROCESSOR = "preprocessor_config.json"


@dataclass(frozen=True)
class PixelFormat:
    """What a tower was trained to see: the side of its pictures, and mean and deviation of the three channels."""

    side: int
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)

    @classmethod
    def of(cls, found: dict[str, Any], config: Any) -> PixelFormat:
        """From a checkpoint's `preprocessor_config.json`, and its configuration for what that does not say."""
        size = found.get("crop_size") or found.get("size")
        if isinstance(size, dict):
            size = size.get("height") or size.get("shortest_edge")
        side = size or getattr(config, "image_size", None) or math.isqrt(config.num_patches) * config.patch_size
        return cls(side, tuple(found.get("image_mean", cls.mean)), tuple(found.get("image_std", cls.std)))

    def save(self, folder: Path) -> None:
        """Write it as a checkpoint has it."""
        size = {"height": self.side, "width": self.side}
        write_json(folder / PREPROCESSOR, {"image_mean": self.mean, "image_std": self.std, "size": size})


class HfImageEncoder(HfEncoder):
    """A pretrained vision tower with a projection to the shared space.

    Pooled as the tower was trained: by its own head where it has one, else by its first token.
    """

    params: HfImageParams
    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, params: HfImageParams, dim: int, saved: Path | None = None) -> None:
        super().__init__(params, build_backbone(params, saved, "image"))
        config = self.backbone.config
        self.format = PixelFormat.of(_preprocessor(params, saved), config)
        self.register_buffer("mean", torch.tensor(self.format.mean, device="cpu")[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(self.format.std, device="cpu")[:, None, None], persistent=False)
        self.project = nn.Linear(config.hidden_size, dim)
        if saved is None and not self.project.weight.is_meta:
            nn.init.orthogonal_(self.project.weight)

    def save_files(self, folder: Path) -> None:
        """Write the configuration and what the tower was trained to see."""
        super().save_files(folder)
        self.format.save(folder)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """`[batch, 3, side, side]`, 0-1 → `[batch, dim]`, not normalised."""
        side = (self.format.side, self.format.side)
        if pixels.shape[-2:] != side:
            pixels = F.interpolate(pixels, side, mode="bicubic", antialias=True).clamp(0, 1)
        pixels = (pixels - self.mean) / self.std
        if self.backbone.config.model_type == "siglip2_vision_model":
            found = self.backbone(**_as_patches(pixels, self.backbone.config.patch_size))
        else:
            found = self.backbone(pixel_values=pixels)
        pooled = found.last_hidden_state[:, 0] if found.pooler_output is None else found.pooler_output
        out: torch.Tensor = self.project(pooled)
        return out


def _as_patches(pixels: torch.Tensor, patch: int) -> dict[str, torch.Tensor]:
    """Pictures `[batch, 3, side, side]` as SigLIP 2 of any shape takes them: `[batch, patches, patch * patch * 3]`."""
    batch, channels, side, _ = pixels.shape
    count = side // patch
    cut = pixels[:, :, : count * patch, : count * patch].reshape(batch, channels, count, patch, count, patch)
    patches = cut.permute(0, 2, 4, 3, 5, 1).reshape(batch, count * count, patch * patch * channels)
    return {
        "pixel_values": patches,
        "pixel_attention_mask": torch.ones(batch, count * count, dtype=torch.long, device=pixels.device),
        "spatial_shapes": torch.full((batch, 2), count, dtype=torch.long, device=pixels.device),
    }


def _preprocessor(params: HfImageParams, saved: Path | None) -> dict[str, Any]:
    """What the checkpoint says of its pictures; nothing if it begins from scratch."""
    if saved is None and params.config is not None:
        return {}
    from transformers.utils import cached_file

    path = cached_file(str(saved or params.name), PREPROCESSOR, _raise_exceptions_for_missing_entries=False)
    if path is None:
        log.warning("%s has no %s: its pictures are taken to be 0.5 ± 0.5.", params.name, PREPROCESSOR)
        return {}
    found: dict[str, Any] = read_json(Path(path))
    return found
