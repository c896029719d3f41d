"""The photographs of a data set as encoded bytes; those that cannot be decoded are noted and left out."""

from __future__ import annotations

import os
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor

from unimr.data.images import open_picture
from unimr.data.published.records import BadRecord, Dataset, Photo
from unimr.errors import UnimrError


def read_pictures(data: Dataset, items: Collection[str]) -> dict[str, bytes]:
    """Item → encoded picture, of those items that have one; bytes and pixels are bounded before a pixel is decoded."""
    photos = [photo for item, photo in data.photos.items() if item in items]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(_read, photos))
    for photo, picture in zip(photos, found, strict=True):
        if isinstance(picture, str):
            data.bad.append(BadRecord("pictures", photo.path.name, 0, f"{photo.item_id}: {picture}"))
    return {photo.item_id: picture for photo, picture in zip(photos, found, strict=True) if isinstance(picture, bytes)}


def _read(photo: Photo) -> bytes | str:
    """The bytes of a sound picture, or what is wrong with it."""
    try:
        data = photo.read()
        open_picture(data)
    except UnimrError as error:
        return str(error)
    except Exception as error:  # decoders raise nearly anything on damaged data, and it always means: damaged
        return f"the picture is damaged ({type(error).__name__})"
    return data
