"""XTD10 (Aggarwal and Kale 2020): 1,000 captions a language of COCO photographs, aligned line by line. It is all test.

800 of the 1,000 photographs are of COCO's training part: whoever trained on COCO has seen them. They and the clean
200 are told apart as subsets.
"""

from __future__ import annotations

import re

from unimr.data.published.coco import coco_item
from unimr.data.published.languages import language_tag
from unimr.data.published.reading import Reading
from unimr.data.published.records import Photo, Text

COLLECTION = "xtd10"
SUBSETS = {"train": "800 of COCO train", "val": "clean 200"}

_FILE = re.compile(r"test_1kcaptions_(?P<lang>[a-z]{2})\.txt")
_NAME = re.compile(r"COCO_(?P<part>train|val)2014_0*(?P<number>[0-9]+)\.jpg")


def read(reading: Reading) -> None:
    """Read the captions of every language that is there."""
    lists = reading.folder.find("test_image_names.txt")
    names = dict(reading.lines(lists[0])) if lists else {}
    for path in reading.folder.find("test_1kcaptions_*.txt"):
        file = _FILE.fullmatch(path.name)
        for number, caption in reading.lines(path) if file else ():
            name = _NAME.fullmatch(names.get(number, "").strip())
            if not file or not name:
                reading.bad(path, number, f"line {number} of test_image_names.txt names no COCO image")
                continue
            item = coco_item(int(name["number"]))
            reading.text((path, number), Text(COLLECTION, item, language_tag(file["lang"]), "caption", caption, "test"))
            reading.data.subsets[COLLECTION, item] = SUBSETS[name["part"]]
            if photo := reading.folder.pictures.get(name.group()):
                reading.photo(Photo(item, photo, "test"))
