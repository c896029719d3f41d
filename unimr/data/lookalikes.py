"""Pictures that look the same though their bytes differ: a perceptual hash and its comparison."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

GRID = 16
"""The perceptual hash has so many cells a side."""
LIMITS = {"max_luminance": 8.0, "mean_luminance": 2.0, "mean_colour": 4.0}
"""How far two hashes may be apart, in 1/255, and still be the same picture; the leak proof uses the same."""

_LUMINANCE = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_ROWS_AT_A_TIME = 1024


def average_colours(picture: Image.Image) -> NDArray[np.float32]:
    """The perceptual hash, `[GRID * GRID, 3]` in 0…255: the average colour of each cell, over white.

    Bit hashes (DCT, gradient) were measured on the emoji catalogue and flip up to 30 of 64 bits when a flat drawing
    is saved as JPEG, while these averages move by 1 or 2 of 255.
    """
    rgba = picture.convert("RGBA")
    ground = Image.new("RGBA", rgba.size, "white")
    ground.alpha_composite(rgba)
    cells = ground.convert("RGB").resize((GRID, GRID), Image.Resampling.BILINEAR)
    return np.asarray(cells, dtype=np.float32).reshape(-1, 3)


def close_pairs(
    left: NDArray[np.float32], right: NDArray[np.float32], limits: Mapping[str, float] = LIMITS
) -> Iterable[tuple[int, int]]:
    """Numbers of all pairs of hashes `left [N, GRID * GRID, 3]`, `right [M, GRID * GRID, 3]` that look the same.

    They do when they differ by less than `max_luminance` in every cell, and on average by less than
    `mean_luminance` and `mean_colour`.
    """
    left, right = left - 255, right - 255  # white is zero: keeps the products exact
    mean_square = limits["mean_luminance"] * limits["max_luminance"]  # no pair within both limits exceeds it
    for first in range(0, len(right), _ROWS_AT_A_TIME):
        block = right[first : first + _ROWS_AT_A_TIME]
        for theirs, mine in np.argwhere(_mean_squares(block @ _LUMINANCE, left @ _LUMINANCE) <= mean_square + 1):
            if _same_picture(block[theirs] - left[mine], limits):
                yield int(mine), int(theirs) + first


def _mean_squares(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean squared difference of every row of `left [N, D]` from every row of `right [M, D]`: `[N, M]`."""
    squares = (left**2).sum(1)[:, None] + (right**2).sum(1)[None] - 2 * left @ right.T
    means: NDArray[np.float32] = squares / np.float32(left.shape[1])
    return means


def _same_picture(difference: NDArray[np.float32], limits: Mapping[str, float]) -> bool:
    luminance = np.abs(difference @ _LUMINANCE)
    return bool(
        luminance.max() < limits["max_luminance"]
        and luminance.mean() < limits["mean_luminance"]
        and np.abs(difference).mean() < limits["mean_colour"]
    )
