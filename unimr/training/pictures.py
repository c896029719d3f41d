"""The pictures a stage trains on, decoded once and kept in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from unimr.data.tables import item_attributes, read_table
from unimr.model.image_encoder import decode_rgba

VARIANT_WEIGHT = 0.3
"""How often a variant is drawn, beside a base item: the five skin tones of a hand differ little."""


class Pictures:
    """Decoded train pictures, grouped by item.

    Attributes:
        rgba: all pictures `[pictures, 4, side, side]`, uint8.
        item_ids: the items that have pictures, sorted.
    """

    def __init__(self, images: pd.DataFrame, side: int) -> None:
        images = images[images["split"] == "train"].sort_values(["item_id", "style"])
        bases = item_attributes(images)
        self.rgba = torch.from_numpy(np.stack([decode_rgba(data, side) for data in images["image"]]))
        self.item_ids = sorted(images["item_id"].unique())
        number = {item_id: place for place, item_id in enumerate(self.item_ids)}
        items = images["item_id"].map(number).to_numpy()
        variant = np.array([bases[item_id].get("base", item_id) != item_id for item_id in self.item_ids])
        self._weights = np.where(variant, VARIANT_WEIGHT, 1.0)
        self._starts = np.searchsorted(items, np.arange(len(self.item_ids) + 1))

    @classmethod
    def read(cls, folder: Path, side: int) -> Pictures:
        """Read the train pictures of the validated tables."""
        return cls(read_table(folder, "images", ["item_id", "style", "image", "attributes", "split"]), side)

    @property
    def renderings(self) -> int:
        """The most pictures that an item has: 1 for photographs, the number of styles for drawings."""
        return int(np.diff(self._starts).max())

    def draw_items(self, size: int, rng: np.random.Generator) -> np.ndarray:
        """Numbers of distinct items, `size` or all there are; variants are drawn less often."""
        # The smallest of weighted random keys are a weighted sample without replacement (Efraimidis, Spirakis 2006).
        keys = rng.exponential(size=len(self._weights)) / self._weights
        return np.argsort(keys)[:size]

    def pairs(self, items: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Two picture numbers for each item `[items]`: of two styles where it has two, else the same picture twice."""
        starts, counts = self._starts[items], np.diff(self._starts)[items]
        first = rng.integers(0, counts)
        second = (first + rng.integers(1, np.maximum(counts, 2))) % counts
        return starts + first, starts + second

    def items(self) -> np.ndarray:
        """Item number of every picture `[pictures]`."""
        return np.repeat(np.arange(len(self.item_ids)), np.diff(self._starts))

    def pixels(self, numbers: np.ndarray) -> torch.Tensor:
        """Pictures by number `[batch, 4, side, side]`, 0-1."""
        return self.rgba[torch.from_numpy(numbers)].float() / 255
