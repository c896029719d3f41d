"""What every published data set is read into: texts and photographs of items, annotated utterances, bad records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import regex

from unimr.data.images import MAX_BYTES
from unimr.data.text import normalise
from unimr.errors import UnimrError

ROLES = ("caption", "sentence", "document", "paragraph", "question")
"""What a text is to its item: captions describe a photograph, sentences and documents are the item in one language,
a question is answered by the paragraph that is the item."""

UNSTATED = ""
"""The split of an item whose source states none: it may be trained on, and `test` measures it."""

SPLITS = (UNSTATED, "train", "dev", "test")
"""From the least to the most held out: where two sources differ about an item, the later one holds."""

_NO_LETTER = regex.compile(r"[\s\p{P}\p{S}]+")


@dataclass(frozen=True)
class Text:
    """A text of an item. `collection` names the gallery that the item belongs to, `lang` is BCP-47."""

    collection: str
    item_id: str
    lang: str
    role: str
    text: str
    split: str


@dataclass(frozen=True)
class Photo:
    """A photograph of an item: `size` bytes from `offset` of a file, or all of it (`size` 0)."""

    item_id: str
    path: Path
    split: str
    offset: int = 0
    size: int = 0

    def read(self) -> bytes:
        """The encoded bytes, never more than a picture may have; they are not decoded.

        Raises:
            UnimrError: the file cannot be read or the picture is too large.
        """
        try:
            with self.path.open("rb") as handle:
                handle.seek(self.offset)
                data = handle.read(min(self.size or MAX_BYTES + 1, MAX_BYTES + 1))
        except OSError as error:
            raise UnimrError(f"{self.path} cannot be read ({error}).") from error
        if len(data) > MAX_BYTES:
            raise UnimrError(f"{self.path}: a picture has more than {MAX_BYTES:,} bytes.")
        return data


@dataclass(frozen=True)
class Utterance:
    """An annotated utterance; slots are (start, end, label) in characters."""

    collection: str
    utterance_id: str
    lang: str
    text: str
    intent: str
    slots: tuple[tuple[int, int, str], ...]
    split: str


@dataclass(frozen=True)
class BadRecord:
    """A record that was left out: its source, file, line (0: the file as a whole) and why."""

    source: str
    file: str
    line: int
    reason: str


@dataclass
class Dataset:
    """All that was read. `subsets` says which part of a collection an item is of: (collection, item) → name."""

    texts: list[Text] = field(default_factory=list)
    photos: dict[str, Photo] = field(default_factory=dict)
    utterances: list[Utterance] = field(default_factory=list)
    subsets: dict[tuple[str, str], str] = field(default_factory=dict)
    bad: list[BadRecord] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    """Source → sound records."""
    origins: dict[str, set[str]] = field(default_factory=dict)
    """Source → the origins of its records, see `unimr.data.mixture.origin`."""


Row = TypeVar("Row", Text, Photo)


def tidied(data: Dataset) -> Dataset:
    """The same records without texts that an item has twice, and with one split an item.

    The split is the most held out of those that the sources state: a photograph that Flickr8k holds out may stand in
    the training part of Multi30k, and no caption of it may be trained. A text is the same as another one of its item
    and language if they differ by white space, punctuation and case alone, as between two sets with the same captions.
    """
    rank: dict[str, int] = defaultdict(int)
    stated: Iterable[Text | Photo] = (*data.texts, *data.photos.values())
    for row in stated:
        rank[row.item_id] = max(rank[row.item_id], SPLITS.index(row.split))
    kept = {
        (row.collection, row.item_id, row.lang, row.role, _NO_LETTER.sub("", normalise(row.text))): row
        for row in reversed(data.texts)  # the first one stays
    }
    splits = {item: SPLITS[place] for item, place in rank.items()}
    texts = [_in_split(row, splits[row.item_id]) for row in reversed(kept.values())]
    photos = {item: _in_split(photo, splits[item]) for item, photo in data.photos.items()}
    return replace(data, texts=texts, photos=photos)


def _in_split(row: Row, split: str) -> Row:
    return row if row.split == split else replace(row, split=split)
