"""The picture of a query, from a file."""

from __future__ import annotations

from pathlib import Path

from unimr.data.images import open_picture, read_picture_file
from unimr.errors import UnimrError


def read_query_image(path: Path) -> bytes:
    """Read a picture file to search with: its encoded bytes, whose size, format and pixels have been checked.

    Raises:
        UnimrError: the file is missing, a folder, too large, not a PNG, JPEG or WebP picture, or damaged.
    """
    data = read_picture_file(path)
    try:
        open_picture(data)
    except UnimrError as error:
        raise UnimrError(f"{path}: {error}") from error
    return data
