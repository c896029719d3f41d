"""Opening pictures that may be anything: bounded by bytes and by pixels before a pixel is decoded."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

from PIL import Image

from unimr.errors import UnimrError

MAX_BYTES = 10 * 2**20
"""Encoded size of a picture at most."""
MAX_PIXELS = 16 * 10**6
"""Width times height of a picture at most; a decoded one then takes 64 MB at most."""
FORMATS = ("PNG", "JPEG", "WEBP")


def open_picture(data: bytes) -> Image.Image:
    """Decode an encoded picture; its size is read from the header and checked before anything is decoded.

    Raises:
        UnimrError: too many bytes or pixels, not a PNG, JPEG or WebP picture, or damaged.
    """
    if len(data) > MAX_BYTES:
        raise UnimrError(f"The picture has {len(data):,} bytes; at most {MAX_BYTES:,} are accepted. Make it smaller.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the bound below is stricter
            picture = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise UnimrError(f"The picture is refused: more than {MAX_PIXELS:,} pixels. Make it smaller.") from error
    except (OSError, ValueError, SyntaxError) as error:
        raise UnimrError("This is not a picture: only PNG, JPEG and WebP are read.") from error
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise UnimrError(
            f"The picture is refused: {width} x {height} pixels; at most {MAX_PIXELS:,} are accepted. Make it smaller."
        )
    try:
        picture.load()
    except (OSError, ValueError, SyntaxError) as error:
        raise UnimrError(f"The picture is damaged and cannot be decoded ({error}). Save it anew.") from error
    return picture


def read_picture_file(path: Path) -> bytes:
    """Read the bytes of a picture file, never more than `MAX_BYTES`; they are not decoded (see `open_picture`).

    Raises:
        UnimrError: there is no such file, it is a folder or a device, it cannot be read, or it is too large.
    """
    try:
        if not path.exists():
            raise UnimrError(f"There is no file {path}. Check the path.")
        if not path.is_file():
            raise UnimrError(f"{path} is not a file. Give the path of a PNG, JPEG or WebP picture.")
        with path.open("rb") as handle:
            data = handle.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        raise UnimrError(f"The picture {str(path)[:200]!r} cannot be read ({error}).") from error
    if len(data) > MAX_BYTES:
        size = path.stat().st_size
        raise UnimrError(f"{path} has {size:,} bytes; at most {MAX_BYTES:,} are accepted. Make it smaller.")
    return data
