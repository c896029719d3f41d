"""Captions in the JSON of Karpathy and Fei-Fei (2015): `dataset_flickr8k.json`, `…_flickr30k.json`, `…_coco.json`.

Its splits are the ones that most published figures are of; `restval` of COCO counts as training, as is usual.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unimr.data.published import coco
from unimr.data.published.flickr import COLLECTION, flickr_item, flickr_photos
from unimr.data.published.reading import Reading, string
from unimr.data.published.records import Photo, Text

FILES = ("dataset_flickr8k.json", "dataset_flickr30k.json", "dataset_coco.json")
SPLITS = {"train": "train", "restval": "train", "val": "dev", "test": "test"}


def read(reading: Reading) -> None:
    """Read the files that are there; `line` of a bad record is the place of the image in the list."""
    photos = flickr_photos(reading.folder)
    for path in reading.folder.find(*FILES):
        images = reading.json(path).get("images", [])
        for number, image in enumerate(images if isinstance(images, list) else [], start=1):
            try:
                collection, item, file, split = _image(image, photos, reading)
            except (ValueError, TypeError, AttributeError) as error:
                reading.bad(path, number, f"not an image of the format: {error}")
                continue
            for caption in _captions(image):
                reading.text((path, number), Text(collection, item, reading.lang, "caption", caption, split))
            if file:
                reading.photo(Photo(item, file, split))


def _image(image: dict[str, Any], photos: dict[str, Path], reading: Reading) -> tuple[str, str, Path | None, str]:
    name, split = string(image, "filename", "split")
    if split not in SPLITS:
        raise ValueError(f"the split {split!r} is not one of {', '.join(SPLITS)}")
    if "cocoid" in image:
        return coco.COLLECTION, coco.coco_item(image["cocoid"]), reading.folder.pictures.get(name), SPLITS[split]
    item = flickr_item(name)
    if item is None:
        raise ValueError(f"{name[:60]!r} is no name of a Flickr photograph")
    return COLLECTION, item, photos.get(item), SPLITS[split]


def _captions(image: dict[str, Any]) -> Iterator[str]:
    for sentence in image.get("sentences") or ():
        yield sentence.get("raw", "") if isinstance(sentence, dict) else ""
