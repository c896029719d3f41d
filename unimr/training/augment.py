"""Random changes of pictures that make the image encoder see shapes, not one artist's style.

All work on batches `[batch, channels, side, side]`, 0-1, and draw from torch's generator, which the loop seeds by step.
What makes the encoder transfer to a style it never saw: outlines along colour edges (as line drawings have), mixed
colours, grey, flattened shading, affine warps, and backgrounds.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from unimr.model.image_encoder import on_background

Change = Callable[[torch.Tensor], torch.Tensor]


def augment(rgba: torch.Tensor, strength: float = 1.0) -> torch.Tensor:
    """Warp, lay on a background, and restyle pictures `[batch, 4, side, side]` → `[batch, 3, side, side]`.

    Pictures without a transparent pixel are photographs, which have no style to vary: they are cropped and re-lit.

    Args:
        rgba: the pictures, 0-1.
        strength: how far photographs are cropped and re-lit.
    """
    with torch.autocast(rgba.device.type, enabled=False):
        if bool((rgba[:, 3] == 1).all()):
            return relight(crop(rgba[:, :3], strength), strength)
        rgba = warp(rgba)
        pixels = on_background(rgba, random_backgrounds(len(rgba), rgba.device))
        for change, probability in CHANGES:
            pixels = maybe(pixels, change, probability)
        return pixels.clamp(0, 1)


def maybe(pixels: torch.Tensor, change: Change, probability: float) -> torch.Tensor:
    """Apply a change to a random part of the batch."""
    chosen = torch.rand(len(pixels), device=pixels.device) < probability
    if not chosen.any():
        return pixels
    out = pixels.clone()
    out[chosen] = change(pixels[chosen])
    return out


def crop(pixels: torch.Tensor, strength: float = 1.0) -> torch.Tensor:
    """A random part of each picture, at the size of the whole, mirrored every other time.

    At strength 1 its side is 60 to 100 % of the whole, at 2 it is 20 to 100 %.
    """
    count, device = len(pixels), pixels.device
    range_of_sides = 0.4 * strength
    scale = 1 - range_of_sides + range_of_sides * torch.rand(count, device=device)
    mirror = torch.where(torch.rand(count, device=device) < 0.5, -1.0, 1.0)
    shift = (torch.rand(2, count, device=device) * 2 - 1) * (1 - scale)
    zero = torch.zeros_like(scale)
    rows = [torch.stack([scale * mirror, zero, shift[0]], dim=1), torch.stack([zero, scale, shift[1]], dim=1)]
    grid = F.affine_grid(torch.stack(rows, dim=1), list(pixels.shape), align_corners=False)
    return F.grid_sample(pixels, grid, mode="bilinear", padding_mode="border", align_corners=False)


def relight(pixels: torch.Tensor, strength: float = 1.0) -> torch.Tensor:
    """Random brightness, contrast and tint, a little; one picture in ten loses its colours."""
    count, device = len(pixels), pixels.device
    pixels = maybe(pixels, grey, 0.1)
    contrast = 1 + 0.2 * strength * torch.randn(count, 1, 1, 1, device=device)
    tint = 0.05 * strength * torch.randn(count, 3, 1, 1, device=device)
    return ((pixels - 0.5) * contrast + 0.5 + tint).clamp(0, 1)


def random_backgrounds(count: int, device: torch.device) -> torch.Tensor:
    """White for four pictures in five, a random colour for the rest `[count, 3]`."""
    colours = torch.rand(count, 3, device=device)
    white = torch.rand(count, 1, device=device) < 0.8
    return torch.where(white, torch.ones_like(colours), colours)


def warp(rgba: torch.Tensor) -> torch.Tensor:
    """Random rotation (to 15 degrees), scale (0.8-1.2, each axis a little apart), shear, shift and mirror image."""
    count, device = len(rgba), rgba.device

    def uniform(limit: float) -> torch.Tensor:
        return (torch.rand(count, device=device) * 2 - 1) * limit

    angle, shear = uniform(0.26), uniform(0.15)
    scale_x, scale_y = torch.exp(uniform(0.2)), torch.exp(uniform(0.2))
    mirror = torch.where(torch.rand(count, device=device) < 0.2, -1.0, 1.0)
    cos, sin = angle.cos(), angle.sin()
    rows = [
        torch.stack([scale_x * cos * mirror, scale_x * (shear - sin), uniform(0.1)], dim=1),
        torch.stack([scale_y * sin * mirror, scale_y * cos, uniform(0.1)], dim=1),
    ]
    grid = F.affine_grid(torch.stack(rows, dim=1), list(rgba.shape), align_corners=False)
    return F.grid_sample(rgba, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def outline(pixels: torch.Tensor) -> torch.Tensor:
    """Darken along colour edges, with a random width and strength, as styles with drawn lines do."""
    radius = 1 if torch.rand(()) < 0.6 else 2
    brightest, minus_darkest = _maximum_around(torch.cat([pixels, -pixels], dim=1), radius).chunk(2, dim=1)
    edge = ((brightest + minus_darkest).amax(dim=1, keepdim=True) * 3 - 0.5).clamp(0, 1)
    strength = 0.5 + 0.5 * torch.rand(len(pixels), 1, 1, 1, device=pixels.device)
    return pixels * (1 - edge * strength)


def _maximum_around(pixels: torch.Tensor, radius: int) -> torch.Tensor:
    """Largest value within `radius` pixels, along rows and columns: on a CPU in half the time of a max pooling."""
    for dim in (2, 3):
        side = pixels.shape[dim]
        largest = pixels.clone()
        for shift in range(1, radius + 1):
            here, there = largest.narrow(dim, 0, side - shift), largest.narrow(dim, shift, side - shift)
            torch.maximum(here, pixels.narrow(dim, shift, side - shift), out=here)
            torch.maximum(there, pixels.narrow(dim, 0, side - shift), out=there)
        pixels = largest
    return pixels


def flatten_shading(pixels: torch.Tensor) -> torch.Tensor:
    """Blur, then keep a few levels a channel: flat colours, as in line-drawn styles."""
    levels = torch.randint(2, 6, (len(pixels), 1, 1, 1), device=pixels.device).float()
    smooth = F.avg_pool2d(pixels, 3, stride=1, padding=1, count_include_pad=False)
    return (smooth * levels).round() / levels


def mix_colours(pixels: torch.Tensor) -> torch.Tensor:
    """A random colour matrix near the identity, brightness and contrast."""
    count, device = len(pixels), pixels.device
    matrix = torch.eye(3, device=device) + 0.25 * torch.randn(count, 3, 3, device=device)
    mixed = torch.einsum("bij,bjhw->bihw", matrix, pixels - 0.5)
    shift = 0.15 * torch.randn(count, 1, 1, 1, device=device)
    return (mixed + 0.5 + shift).clamp(0, 1)


def grey(pixels: torch.Tensor) -> torch.Tensor:
    """Luminance in all three channels."""
    weights = torch.tensor([0.299, 0.587, 0.114], device=pixels.device)
    return torch.einsum("c,bchw->bhw", weights, pixels)[:, None].expand_as(pixels)


CHANGES: tuple[tuple[Change, float], ...] = ((flatten_shading, 0.3), (outline, 0.5), (mix_colours, 0.5), (grey, 0.15))
"""Changes of style and the share of the pictures that each is applied to."""
