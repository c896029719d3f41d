"""Multi30k (Elliott et al. 2016): task 1, translations of one caption; task 2, independent descriptions.

`task1/raw/<part>.<language>.gz` is aligned line by line with `task1/image_splits/<part>.txt`, and
`task2/raw/<part>.<k>.<language>.gz` with `task2/image_splits/<part>_images.txt`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from unimr.data.published.coco import COLLECTION as COCO
from unimr.data.published.coco import coco_item
from unimr.data.published.flickr import COLLECTION as FLICKR
from unimr.data.published.flickr import flickr_item, flickr_photos
from unimr.data.published.languages import language_tag
from unimr.data.published.reading import Reading
from unimr.data.published.records import Photo, Text

_RAW = re.compile(r"(?P<part>[a-z0-9_]+)\.(?:[0-9]\.)?(?P<lang>[a-z]{2})(?:\.gz)?")
_COCO_NAME = re.compile(r"COCO_[a-z]+[0-9]{4}_0*([0-9]+)\.jpg(?:#.*)?")


def read(reading: Reading) -> None:
    """Read both tasks."""
    photos = flickr_photos(reading.folder)
    for task, suffix in (("task1", ""), ("task2", "_images")):
        for path in reading.folder.find(f"{task}/raw/*"):
            found = _RAW.fullmatch(path.name)
            if not found:
                continue
            split = {"tra": "train", "val": "dev"}.get(found["part"][:3], "test")
            lang = language_tag(found["lang"])
            for number, item, caption in _aligned(reading, path, found["part"] + suffix):
                collection = FLICKR if item.startswith("flickr:") else COCO
                reading.text((path, number), Text(collection, item, lang, "caption", caption, split))
                if item in photos:
                    reading.photo(Photo(item, photos[item], split))


def _aligned(reading: Reading, path: Path, split_list: str) -> Iterator[tuple[int, str, str]]:
    """Line number, item and caption; a caption without a photograph in the list is left out."""
    lists = reading.folder.find(f"{path.parent.parent.name}/image_splits/{split_list}.txt")
    lists = [found for found in lists if found.parent.parent == path.parent.parent]
    if not lists:
        reading.bad(path, 0, f"the list image_splits/{split_list}.txt is missing, so no line has a photograph")
        return
    names = dict(reading.lines(lists[0]))
    last = 0
    for number, caption in reading.lines(path):
        last = number
        item = _item(names.get(number, ""))
        if item:
            yield number, item, caption
        else:
            reading.bad(path, number, f"line {number} of {lists[0].name} names no photograph")
    if last < len(names):
        reading.bad(path, last, f"{lists[0].name} has {len(names)} lines, this file {last}")


def _item(name: str) -> str | None:
    found = _COCO_NAME.fullmatch(name)
    return coco_item(int(found[1])) if found else flickr_item(name)
