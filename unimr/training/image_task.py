"""Task of stage `train_image`: pictures against item proxies, and two renderings of an item against each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from unimr.errors import UnimrError
from unimr.model.encoders import make_image_encoder
from unimr.model_params import ModelParams
from unimr.params import TrainImageParams
from unimr.training.augment import augment
from unimr.training.encode import chunk_of, encode
from unimr.training.losses.info_nce import InfoNCELoss
from unimr.training.losses.proxy import ProxyLoss
from unimr.training.pictures import Pictures


@dataclass(frozen=True, repr=False)
class ImageBatch:
    """Two pictures of each item: `rgba [2 * items, 4, side, side]` (all lefts, then all rights), `items [items]`.

    Where no item has more than one picture there is one of each: `rgba [items, 4, side, side]`.
    """

    rgba: torch.Tensor
    items: torch.Tensor
    names: list[str]

    def __repr__(self) -> str:
        return f"pictures of the items {', '.join(self.names[:5])}, … ({len(self.names)})"


class ImageTask:
    """Warms the image encoder up where no pretrained one is given.

    Raises:
        UnimrError: chunks are asked for, of an encoder that needs the whole batch.
    """

    def __init__(self, model: ModelParams, params: TrainImageParams, pictures: Pictures) -> None:
        self.params, self.pictures = params, pictures
        self.encoder = make_image_encoder(model.image, model.dim).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if chunk_of(self.encoder, params.chunk_size) != params.chunk_size:
            raise UnimrError(
                f"train_image.chunk_size is {params.chunk_size}, but this image encoder normalises over the batch and "
                "cannot be given a part of it. Set it to 0."
            )
        self.proxy_loss = ProxyLoss(len(pictures.item_ids), model.dim, model.matryoshka_dims, params.min_temperature)
        self.contrast = InfoNCELoss()
        self.module = nn.ModuleDict(
            {"image_encoder": self.encoder, "proxy_loss": self.proxy_loss, "contrast": self.contrast}
        )

    def table(self) -> list[nn.Parameter]:
        """No sparse parameters."""
        return []

    def batch(self, rng: np.random.Generator) -> ImageBatch:
        """Distinct items, two pictures each."""
        return draw_pictures(self.pictures, self.params.batch_size, rng)

    def __call__(self, batch: ImageBatch) -> tuple[torch.Tensor, dict[str, float], int]:
        """Proxy loss on every picture plus the weighted contrast of the pairs."""
        vectors = embed_augmented(self.encoder, batch, self.proxy_loss.proxies.device, self.params.chunk_size)
        loss, report = picture_losses(vectors, self.proxy_loss, self.contrast, batch, self.params.contrast_weight)
        return loss, report, len(batch.rgba)


def draw_pictures(pictures: Pictures, size: int, rng: np.random.Generator) -> ImageBatch:
    """A batch of `size` distinct items (or all there are), two pictures each if there are two."""
    items = pictures.draw_items(size, rng)
    left, right = pictures.pairs(items, rng)
    rgba = pictures.pixels(np.concatenate([left, right]) if pictures.renderings > 1 else left)
    return ImageBatch(rgba, torch.from_numpy(items), [pictures.item_ids[item] for item in items])


def embed_augmented(
    encoder: nn.Module, batch: ImageBatch, device: torch.device, chunk_size: int, strength: float = 1.0
) -> torch.Tensor:
    """Unit vectors of the pictures of a batch, each changed at random `[pictures, dim]`."""

    def embed(pixels: torch.Tensor) -> torch.Tensor:
        return F.normalize(encoder(pixels).float(), dim=-1)

    return encode(embed, augment(batch.rgba.to(device), strength), chunk_of(encoder, chunk_size))


def picture_losses(
    vectors: torch.Tensor, proxy_loss: ProxyLoss, contrast: InfoNCELoss, batch: ImageBatch, contrast_weight: float
) -> tuple[torch.Tensor, dict[str, float]]:
    """Losses of the vectors of augmented pictures: against all proxies, and rendering against rendering."""
    items = batch.items.to(vectors.device)
    proxies = proxy_loss(vectors, items.repeat(len(vectors) // len(items)))
    if len(vectors) == len(items):
        return proxies, {"image": float(proxies.detach())}
    pairs = contrast(vectors[: len(items)], vectors[len(items) :], items)
    return proxies + contrast_weight * pairs, {"image": float(proxies.detach()), "pairs": float(pairs.detach())}
