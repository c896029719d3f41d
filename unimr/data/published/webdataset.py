"""Image-text sets in the WebDataset layout: tar files; the members of a sample share a name up to its first dot.

`000123.jpg`, `000123.txt` or `.caption`, and `000123.json` with, optionally, `caption`, `lang` and `split`. The samples
are streamed: only one is in memory at a time, pictures stay where they are in the tar, and the number of samples is
known before the first is read, from `sizes.json` (shard → samples) beside the shards, else by counting headers.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from unimr.data.images import MAX_BYTES
from unimr.data.published.languages import language_tag
from unimr.data.published.reading import MAX_LINE_BYTES, PICTURES, Reading
from unimr.data.published.records import SPLITS, UNSTATED, Photo, Text

TEXTS = (".txt", ".caption")


@dataclass(frozen=True)
class Member:
    """A file of a sample: its place in the tar."""

    shard: Path
    offset: int
    size: int

    def read(self, limit: int) -> bytes:
        """Its bytes.

        Raises:
            ValueError: there are more than `limit`.
        """
        if self.size > limit:
            raise ValueError(f"a member has {self.size:,} bytes; at most {limit:,} are read")
        with self.shard.open("rb") as handle:
            handle.seek(self.offset)
            return handle.read(self.size)


@dataclass(frozen=True)
class Sample:
    """The members of one sample by extension (`.jpg`); `key` is their common name."""

    key: str
    members: dict[str, Member]


class WebDataset:
    """The samples of shards, streamed in the order of the files, with known length."""

    def __init__(self, shards: list[Path]) -> None:
        self.shards = shards

    @cached_property
    def sizes(self) -> dict[Path, int]:
        """Shard → samples, as `sizes.json` says, else counted; a damaged shard has those before the damage."""
        stated: dict[Path, int] = {}
        for folder in {shard.parent for shard in self.shards}:
            try:
                found = json.loads((folder / "sizes.json").read_bytes())
                stated |= {folder / name: int(size) for name, size in found.items()}
            except (OSError, ValueError, TypeError, AttributeError):
                continue  # there is none, or it is of no use: the samples are counted
        return {shard: stated[shard] if shard in stated else _count(shard) for shard in self.shards}

    def __len__(self) -> int:
        """The number of samples."""
        return sum(self.sizes.values())

    def __iter__(self) -> Iterator[Sample]:
        """Stream the samples.

        Raises:
            tarfile.TarError, OSError: a shard is damaged, after the samples before the damage.
        """
        for shard in self.shards:
            yield from samples(shard)


def samples(shard: Path) -> Iterator[Sample]:
    """The samples of one tar.

    Raises:
        tarfile.TarError, OSError: it is damaged.
    """
    key = ""
    members: dict[str, Member] = {}
    with tarfile.open(shard, "r:") as archive:
        for entry in archive:
            archive.members = []  # type: ignore[attr-defined]  # else every header stays in memory
            if not entry.isfile():
                continue
            path = PurePosixPath(entry.name)
            stem, _, extension = path.name.partition(".")
            name = str(path.with_name(stem))
            if members and name != key:
                yield Sample(key, members)
                members = {}
            key = name
            members[f".{extension.lower()}"] = Member(shard, entry.offset_data, entry.size)
        whole = shard.stat().st_size >= archive.offset + 2 * tarfile.BLOCKSIZE  # a tar ends with two empty blocks
    if members:
        yield Sample(key, members)
    if not whole:
        raise tarfile.ReadError("it ends without the mark of a whole tar")


def _count(shard: Path) -> int:
    number = 0
    try:
        for _ in samples(shard):
            number += 1
    except (tarfile.TarError, OSError):
        return number
    return number


def read(reading: Reading) -> None:
    """Read the captions of every shard; `line` of a bad record is the place of the sample in its shard."""
    for shard in reading.folder.find("*.tar"):
        number, collection = 0, f"webdataset-{shard.parent.name}"
        try:
            for number, sample in enumerate(samples(shard), start=1):
                try:
                    _add(reading, (shard, number), sample, collection)
                except (ValueError, TypeError) as error:
                    reading.bad(shard, number, f"the sample {sample.key[:60]!r} cannot be used: {error}")
        except (tarfile.TarError, OSError) as error:
            reading.bad(shard, number + 1, f"the tar is damaged from here on ({error})")


def _add(reading: Reading, place: tuple[Path, int], sample: Sample, collection: str) -> None:
    values: dict[str, object] = {}
    if ".json" in sample.members:
        values = dict(json.loads(sample.members[".json"].read(MAX_LINE_BYTES)))
    texts = [sample.members[extension] for extension in TEXTS if extension in sample.members]
    caption = texts[0].read(MAX_LINE_BYTES).decode("utf-8") if texts else values.get("caption")
    lang, split = values.get("lang", reading.lang), values.get("split", UNSTATED)
    pictures = [sample.members[extension] for extension in PICTURES if extension in sample.members]
    if not isinstance(caption, str) or not isinstance(lang, str) or split not in SPLITS:
        raise ValueError("it has no caption, or `lang` or `split` is of no use")
    if not pictures or pictures[0].size > MAX_BYTES:
        raise ValueError(f"it has no picture of at most {MAX_BYTES:,} bytes")
    item = f"{collection}:{sample.key}"
    reading.text(place, Text(collection, item, language_tag(lang), "caption", caption, str(split)))
    picture = pictures[0]
    reading.photo(Photo(item, picture.shard, str(split), picture.offset, picture.size))
