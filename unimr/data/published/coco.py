"""COCO captions (Chen et al. 2015): `captions_<part><year>.json` with `images` and `annotations`."""

from __future__ import annotations

from unimr.data.published.reading import Reading, string
from unimr.data.published.records import Photo, Text

COLLECTION = "coco"
FILES = {"train": "captions_train*.json", "dev": "captions_val*.json", "test": "captions_test*.json"}


def coco_item(number: object) -> str:
    """`61844` → `coco:61844`.

    Raises:
        ValueError: this is not a COCO number.
    """
    if not isinstance(number, int) or number < 0:
        raise ValueError(f"{number!r} is not the number of a COCO image")
    return f"coco:{number}"


def read(reading: Reading) -> None:
    """Read the files that are there; `line` of a bad record is its place in the list."""
    for split, pattern in FILES.items():
        for path in reading.folder.find(pattern):
            values = reading.json(path)
            names = {}
            for number, image in enumerate(_list(values, "images"), start=1):
                try:
                    names[coco_item(image["id"])] = string(image, "file_name")[0]
                except (ValueError, KeyError, TypeError) as error:
                    reading.bad(path, number, f"not an image of the format: {error}")
            for number, annotation in enumerate(_list(values, "annotations"), start=1):
                try:
                    item, (caption,) = coco_item(annotation["image_id"]), string(annotation, "caption")
                    name = names[item]
                except (ValueError, KeyError, TypeError) as error:
                    reading.bad(path, number, f"not an annotation of the format, or its image is unknown: {error}")
                    continue
                reading.text((path, number), Text(COLLECTION, item, reading.lang, "caption", caption, split))
                if name in reading.folder.pictures:
                    reading.photo(Photo(item, reading.folder.pictures[name], split))


def _list(values: dict[str, object], key: str) -> list[dict[str, object]]:
    found = values.get(key, [])
    return found if isinstance(found, list) else []
