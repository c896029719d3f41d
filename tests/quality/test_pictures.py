"""Looking at pictures that may be anything."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from unimr.data.lookalikes import GRID
from unimr.quality.pictures import examine, examine_all

from . import poisons as p
from .small_catalogue import draw


def test_a_sound_picture() -> None:
    data = draw(1, 2, "google")
    found = examine(data)
    assert (found.problem, found.width, found.height) == ("", 64, 64)
    assert found.sha256 == hashlib.sha256(data).hexdigest()
    assert found.colours.shape == (GRID * GRID, 3)
    assert found.colours[0].tolist() == [255, 255, 255]  # transparent is white


@pytest.mark.parametrize("data", [None, b"", b"<svg/>", draw(0, 0, "google")[:200], p.bomb(50_000), p.bomb(8_000)])
def test_broken_and_hostile_pictures_are_rows_not_crashes(data: bytes | None) -> None:
    found = examine(data)
    assert found.problem and not found.colours.any()


def test_every_cut_and_every_flipped_byte_is_survived() -> None:
    data = draw(2, 5, "twitter")
    cut = [data[:end] for end in range(0, len(data), 7)]
    flipped = [data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :] for at in range(0, len(data), 5)]
    found = examine_all([*cut, *flipped])
    assert sum(bool(one.problem) for one in found) > len(cut) / 2


def test_saving_anew_hardly_moves_the_hash_and_another_drawing_does() -> None:
    data = draw(3, 4, "openmoji")
    same = examine(p.reencode(data, "JPEG", 96, quality=85)).colours
    other = examine(draw(3, 5, "openmoji")).colours
    distance = [np.abs(examine(data).colours - found).mean() for found in (same, other)]
    assert distance[0] < 2 and distance[1] > 10
