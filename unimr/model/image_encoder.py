"""The `convnet` image encoder, and how encoded bytes become its input."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from unimr.data.images import open_picture
from unimr.model_params import ImageEncoderParams, PhotographViews


class View(NamedTuple):
    """How a finished picture is looked at.

    Attributes:
        scale: how large it is shown.
        mirror: -1 for its mirror image, else 1.
        x, y: the middle of what is shown, -1 (left, top) to 1.
    """

    scale: float
    mirror: int = 1
    x: float = 0.0
    y: float = 0.0


DRAWING_VIEWS = (View(0.85), View(1.0), View(1.15))
"""A finished drawing is embedded as the mean over these, two points recall@10 on a style never seen in training."""


def views_of_photographs(params: PhotographViews) -> list[View]:
    """The views of a finished photograph, whose number is what embedding it costs."""
    views = [View(scale, -1 if number % 2 else 1) for number, scale in enumerate(params.whole)]
    for scale in params.corners:
        far = 1 - 1 / scale
        views += [View(scale, 1 if x == y else -1, x, y) for x in (-far, far) for y in (-far, far)]
    return views


def decode_rgba(data: bytes, size: int) -> np.ndarray:
    """Decode an encoded picture to `[4, size, size]` uint8, with transparency, aspect ratio kept by padding.

    Transparent margins are cut off: how much of its canvas a drawing fills is a habit of its artist, not what it shows.
    A picture that cannot be transparent is a photograph, and stays one: it is padded with white instead of nothing.

    Raises:
        UnimrError: the bytes are no PNG, JPEG or WebP picture of bounded size.
    """
    opened = open_picture(data)
    padding = 0 if opened.has_transparency_data else 255
    picture = opened.convert("RGBA")
    drawn = picture.getchannel("A").getbbox()
    picture = picture.crop(drawn) if drawn else picture
    if picture.size != (size, size):
        scale = size / max(picture.size)
        sides = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
        fitted = picture.resize(sides, Image.Resampling.LANCZOS)
        picture = Image.new("RGBA", (size, size), (255, 255, 255, padding))
        picture.paste(fitted, ((size - fitted.width) // 2, (size - fitted.height) // 2))
    return np.asarray(picture).transpose(2, 0, 1)


def on_background(rgba: torch.Tensor, background: torch.Tensor) -> torch.Tensor:
    """Lay `rgba [batch, 4, side, side]` (0-1) over colours `[batch, 3]` → `[batch, 3, side, side]` (0-1)."""
    colour, alpha = rgba[:, :3], rgba[:, 3:]
    return colour * alpha + background[:, :, None, None] * (1 - alpha)


def to_pixels(rgba: np.ndarray) -> torch.Tensor:
    """Decoded pictures `[batch, 4, side, side]`, uint8, on white `[batch, 3, side, side]`, 0-1: as search sees them."""
    pixels = torch.from_numpy(rgba).float() / 255
    return on_background(pixels, torch.ones(len(pixels), 3))


def are_photographs(rgba: np.ndarray) -> np.ndarray:
    """Which of `[batch, 4, side, side]` have no transparent pixel: `[batch]`, true or false."""
    found: np.ndarray = rgba[:, 3].min(axis=(1, 2)) == 255
    return found


def as_seen(pixels: torch.Tensor, views: Sequence[View]) -> Iterator[torch.Tensor]:
    """Pictures on white `[batch, 3, side, side]` in each of some views, of the same shape."""
    for scale, mirror, x, y in views:
        zoom = torch.eye(2, 3, device=pixels.device) / scale
        zoom[0, 0] *= mirror
        zoom[0, 2], zoom[1, 2] = x, y
        grid = F.affine_grid(zoom.expand(len(pixels), 2, 3), list(pixels.shape), align_corners=False)
        yield F.grid_sample(pixels, grid, padding_mode="border", align_corners=False)


class ResidualBlock(nn.Module):
    """Halves the map by averaging, then two 3x3 convolutions with a projected shortcut (He et al. 2016, section 3.3).

    Averaging before the convolution instead of a stride in it: drawings that differ by a pixel stay alike, which
    carries over to other styles, and the gradient takes half the time on a CPU.
    """

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels_in, channels, 3, padding=1, bias=False)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.shortcut = nn.Conv2d(channels_in, channels, 1, bias=False)
        self.norm_first, self.norm_second = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[batch, channels_in, side, side]` → `[batch, channels, side/2, side/2]`."""
        x = F.avg_pool2d(x, 2)
        inner = F.relu(self.norm_first(self.first(x)))
        return F.relu(self.norm_second(self.second(inner)) + self.shortcut(x))


class ConvNet(nn.Module):
    """A stem and residual blocks; the last map is pooled to 2x2, so that some layout is kept.

    The stem halves the picture at once: at full size, normalisation and activations alone take three times as long
    on a CPU as everything else together.
    """

    def __init__(self, params: ImageEncoderParams, dim: int) -> None:
        super().__init__()
        stem, *blocks = params.channels
        self.image_size = params.image_size
        first = nn.Conv2d(3, stem, 5, stride=2, padding=2, bias=False)
        self.stem = nn.Sequential(first, nn.BatchNorm2d(stem), nn.ReLU())
        self.blocks = nn.ModuleList(ResidualBlock(a, b) for a, b in zip(params.channels, blocks, strict=False))
        self.project = nn.Linear(4 * blocks[-1], dim)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """`[batch, 3, side, side]`, 0-1 → `[batch, dim]`, not normalised."""
        x = self.stem((pixels - 0.5).contiguous(memory_format=torch.channels_last))
        for block in self.blocks:
            x = block(x)
        out: torch.Tensor = self.project(F.adaptive_avg_pool2d(x, 2).flatten(1))
        return out
