"""What decoding every picture shows: whether it is sound, its SHA-256, its size and its perceptual hash."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unimr.data.images import open_picture
from unimr.data.lookalikes import GRID, average_colours
from unimr.errors import UnimrError


@dataclass(frozen=True)
class Picture:
    """What decoding one picture showed; `problem` is empty if it is sound, else size and hash are empty.

    `colours` is the perceptual hash of `unimr.data.lookalikes`, `[GRID * GRID, 3]` of float32.
    """

    problem: str
    sha256: str
    width: int
    height: int
    colours: NDArray[np.float32]


def examine(data: bytes | None) -> Picture:
    """Decode one encoded picture, within the bounds of `unimr.data.images`; never raises for bad data."""
    if not data:
        return _broken("there are no bytes", "")
    sha256 = hashlib.sha256(data).hexdigest()
    try:
        picture = open_picture(data)
        return Picture("", sha256, picture.width, picture.height, average_colours(picture))
    except UnimrError as error:
        return _broken(str(error), sha256)
    except Exception as error:  # decoders raise nearly anything on damaged data, and it always means: damaged
        return _broken(f"The picture is damaged and cannot be decoded ({type(error).__name__}).", sha256)


def _broken(problem: str, sha256: str) -> Picture:
    return Picture(problem, sha256, 0, 0, np.zeros((GRID * GRID, 3), dtype=np.float32))


def examine_all(pictures: Sequence[bytes | None]) -> list[Picture]:
    """`examine` every picture, on as many threads as there are cores."""
    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(examine, pictures))
