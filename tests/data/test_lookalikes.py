from __future__ import annotations

import io

import numpy as np
from PIL import Image

from unimr.data.lookalikes import GRID, average_colours, close_pairs


def picture(seed: int, side: int = 64) -> Image.Image:
    cells = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(cells).resize((side, side), Image.Resampling.NEAREST)


def saved(found: Image.Image, kind: str) -> Image.Image:
    buffer = io.BytesIO()
    found.save(buffer, kind, quality=90)
    return Image.open(buffer)


def looks(*pictures: Image.Image) -> np.ndarray:
    return np.stack([average_colours(each) for each in pictures])


def test_a_hash_is_the_average_colour_of_each_cell_over_white():
    clear = Image.new("RGBA", (32, 32), (0, 0, 0, 0))
    assert average_colours(clear).shape == (GRID * GRID, 3)
    assert (average_colours(clear) == 255).all()


def test_copies_saved_anew_are_found_and_others_are_not():
    left = looks(*[picture(seed) for seed in range(20)])
    right = looks(picture(99), saved(picture(3), "WEBP"), picture(7), saved(picture(11), "JPEG"))
    assert set(close_pairs(left, right)) == {(3, 1), (7, 2), (11, 3)}


def test_one_changed_corner_makes_another_picture():
    other = picture(1)
    other.paste((0, 255, 0), (0, 0, 8, 8))
    assert not list(close_pairs(looks(picture(1)), looks(other)))
