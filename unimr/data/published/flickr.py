"""Flickr8k and Flickr30k captions (Hodosh et al. 2013; Young et al. 2014) in the format of their token files.

A line is `name.jpg#k<TAB>caption`. The Arabic captions of Flickr8k and Framed Multi30K (FM30K, Portuguese) are written
the same way, the Hindi ones as `name caption`. A photograph is known by the digits its name begins with, which are the
same in all sets made of them: `1000268201_693b08cb0e.jpg` of Flickr8k is `1000268201.jpg` of Flickr30k.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from unimr.data.published.reading import Folder, Reading
from unimr.data.published.records import UNSTATED, Photo, Text

COLLECTION = "flickr"

TOKEN_FILES = {
    "Flickr8k.token.txt": "en",
    "results_20130124.token": "en",
    "Flickr8k.arabic.full.txt": "ar",
    "flickr30k/captions.txt.gz": "pt",
    "flickr30k/captions.pt.txt.gz": "pt",
}
"""Files of `name#k<TAB>caption` → their language; the last two are FM30K's."""

HINDI_FILE = "Flickr8k-Hindi.Clean-*Sentences.txt"
SPLIT_LISTS = {
    "train": "Flickr_8k.trainImages.txt",
    "dev": "Flickr_8k.devImages.txt",
    "test": "Flickr_8k.testImages.txt",
}

_NAME = re.compile(r"([0-9]+)(?:_[0-9a-z]+)?(?:\.jpg)?(?:\.[0-9])?")
_LINE = re.compile(r"(?P<name>[^\s#]+)#(?P<number>[0-9]+)\t(?P<caption>.*)")
_HINDI_LINE = re.compile(r"(?P<name>[0-9a-z_]+) (?P<caption>.*)")


def flickr_item(name: str) -> str | None:
    """`1000268201_693b08cb0e.jpg` → `flickr:1000268201`; None for a name of another kind."""
    found = _NAME.fullmatch(name.strip())
    return f"flickr:{found.group(1)}" if found else None


def flickr_photos(folder: Folder) -> dict[str, Path]:
    """Item → file of the Flickr photographs in a folder."""
    found = ((flickr_item(name), path) for name, path in folder.pictures.items())
    return {item: path for item, path in found if item}


def flickr_splits(reading: Reading) -> dict[str, str]:
    """Item → split, from the official lists of Flickr8k that are there."""
    splits: dict[str, str] = {}
    for split, pattern in SPLIT_LISTS.items():
        for path in reading.folder.find(pattern):
            for number, line in reading.lines(path):
                item = flickr_item(line)
                if item:
                    splits[item] = split
                elif line.strip():
                    reading.bad(path, number, f"{line[:60]!r} is no name of a Flickr photograph")
    return splits


def add_captions(reading: Reading, found: Iterable[tuple[Path, int, str, str, str]], splits: dict[str, str]) -> None:
    """Add captions `(file, line, item, language, text)` and the photographs that they describe.

    A photograph that the lists do not name is for training; without any list, no split is stated.
    """
    otherwise = "train" if splits else UNSTATED
    photos = flickr_photos(reading.folder)
    for path, number, item, lang, caption in found:
        split = splits.get(item, otherwise)
        reading.text((path, number), Text(COLLECTION, item, lang, "caption", caption, split))
        if item in photos:
            reading.photo(Photo(item, photos[item], split))


def read(reading: Reading) -> None:
    """Read every token file in the folder."""
    add_captions(reading, _captions(reading), flickr_splits(reading))


def _captions(reading: Reading) -> Iterator[tuple[Path, int, str, str, str]]:
    for pattern, lang in TOKEN_FILES.items():
        yield from captions_of(reading, pattern, _LINE, lang)
    yield from captions_of(reading, HINDI_FILE, _HINDI_LINE, "hi")


def captions_of(
    reading: Reading, pattern: str, form: re.Pattern[str], lang: str
) -> Iterator[tuple[Path, int, str, str, str]]:
    """Captions of the files of a pattern, by the groups `name` and `caption` of the form of their lines."""
    for path in reading.folder.find(pattern):
        for number, line in reading.lines(path):
            found = form.fullmatch(line)
            item = flickr_item(found["name"]) if found else None
            if found and item:
                yield path, number, item, lang, found["caption"]
            elif line.strip():
                reading.bad(path, number, f"not a photograph's name and a caption: {line[:60]!r}")
