"""One pass over the files of a source: bounded reading, and a note of every record that had to be left out."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import regex

from unimr.data.mixture import origin
from unimr.data.published.records import BadRecord, Dataset, Photo, Text, Utterance
from unimr.data.text import segment
from unimr.errors import UnimrError

MAX_LINE_BYTES = 2**20
MAX_TEXT_CHARACTERS = 20_000
MAX_JSON_BYTES = 2**29
MAX_LINES_BYTES = 2**32
"""Of one file, after decompression: what is beyond is left out and noted."""

PICTURES = (".jpg", ".jpeg", ".png", ".webp")

_CONTROL = regex.compile(r"[\p{Cc}\p{Co}\p{Cs}\uFFFD\u2028\u2029]")


class Folder:
    """The files below a folder, listed once.

    Raises:
        UnimrError: there is no such folder.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise UnimrError(f"There is no folder {root}. Give the folder that holds the data sets (docs/datasets.md).")
        self.root = root
        found = sorted(path for path in root.rglob("*") if path.is_file())
        self.pictures = {path.name: path for path in reversed(found) if path.suffix.lower() in PICTURES}
        self._files = [path for path in found if path.suffix.lower() not in PICTURES]

    def find(self, *patterns: str) -> list[Path]:
        """Files whose last components match one of the patterns, such as `task1/raw/*.gz`."""
        return [path for path in self._files if any(PurePosixPath(path).match(pattern) for pattern in patterns)]


class Reading:
    """What a loader reads from and writes to.

    Attributes:
        source: name of the source, for the notes.
        folder: the files it may read.
        data: where its records go.
        lang: language of texts whose format does not state one.
    """

    def __init__(self, source: str, folder: Folder, data: Dataset, lang: str = "en") -> None:
        self.source, self.folder, self.data, self.lang = source, folder, data, lang

    # -- files in ----------------------------------------------------------------------------------------------------

    def lines(self, path: Path) -> Iterator[tuple[int, str]]:
        """Numbered lines of a text file, plain or `.gz`, without their ends; broken ones are noted and left out."""
        number = total = 0
        try:
            with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as handle:
                while line := handle.readline(MAX_LINE_BYTES + 1):
                    number, total = number + 1, total + len(line)
                    if total > MAX_LINES_BYTES:
                        self.bad(path, number, f"the file goes on after {MAX_LINES_BYTES:,} bytes; that is left out")
                        return
                    text = self._decoded(path, number, line)
                    while len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
                        line = handle.readline(MAX_LINE_BYTES + 1)  # the rest of a line that is too long
                        total += len(line)
                    if text is not None:
                        yield number, text
        except (OSError, EOFError, zlib.error) as error:
            self.bad(path, number + 1, f"the file cannot be read from here on ({error})")

    def _decoded(self, path: Path, number: int, line: bytes) -> str | None:
        if len(line) > MAX_LINE_BYTES:
            self.bad(path, number, f"the line has more than {MAX_LINE_BYTES:,} bytes")
            return None
        try:
            return line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            self.bad(path, number, "the line is not UTF-8")
            return None

    def objects(self, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
        """Numbered objects of a JSON Lines file, plain or `.gz`."""
        for number, line in self.lines(path):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except (ValueError, RecursionError) as error:
                self.bad(path, number, f"not valid JSON ({error})")
                continue
            if isinstance(value, dict):
                yield number, value
            else:
                self.bad(path, number, "not a JSON object")

    def json(self, path: Path) -> dict[str, Any]:
        """The object of a JSON file; an empty one, and a note, if it is too large or broken."""
        try:
            if path.stat().st_size > MAX_JSON_BYTES:
                raise ValueError(f"the file has more than {MAX_JSON_BYTES:,} bytes")
            value = json.loads(path.read_bytes())
            if not isinstance(value, dict):
                raise ValueError("not a JSON object")
        except (OSError, ValueError, RecursionError) as error:
            self.bad(path, getattr(error, "lineno", 0), f"the file cannot be read ({error})")
            return {}
        return value

    # -- records out -------------------------------------------------------------------------------------------------

    def bad(self, path: Path, line: int, reason: str) -> None:
        """Note a record that is left out."""
        shown = path.relative_to(self.folder.root).as_posix()
        self.data.bad.append(BadRecord(self.source, shown, line, reason[:300]))

    def text(self, place: tuple[Path, int], text: Text) -> None:
        """Add a text, its white space (line ends too) made single spaces; an unusable one is noted."""
        value = self._clean(place, " ".join(text.text.split()) if isinstance(text.text, str) else text.text)
        if value is not None:
            self.data.texts.append(Text(text.collection, text.item_id, text.lang, text.role, value, text.split))
            self._count(text.item_id)

    def photo(self, photo: Photo) -> None:
        """Add a photograph; the first one of an item stays."""
        self.data.photos.setdefault(photo.item_id, photo)

    def utterance(self, place: tuple[Path, int], utterance: Utterance) -> None:
        """Add an utterance; the spans are cut to the words that they touch (`p. m.` ends with its last letter)."""
        text = utterance.text
        cleaned = self._clean(place, text)
        if cleaned is None:
            return
        if cleaned != text or not utterance.intent:
            self.bad(*place, "the utterance has white space at its edges or no intent")
            return
        slots = [(*_cut_to_words(text, start, end), label) for start, end, label in utterance.slots]
        if any(start >= end or not label for start, end, label in slots):
            self.bad(*place, f"a slot of {text[:60]!r} holds no word or has no label")
            return
        self.data.utterances.append(Utterance(**{**vars(utterance), "slots": tuple(slots)}))
        self._count(utterance.utterance_id)

    def _clean(self, place: tuple[Path, int], text: object) -> str | None:
        if not isinstance(text, str) or not text.strip():
            self.bad(*place, "the text is empty")
        elif len(text) > MAX_TEXT_CHARACTERS:
            self.bad(*place, f"the text has more than {MAX_TEXT_CHARACTERS:,} characters")
        elif found := _CONTROL.search(text.strip()):
            self.bad(*place, f"the character U+{ord(found.group()):04X} stands in {text[:60]!r}")
        else:
            return text.strip()
        return None

    def _count(self, record_id: str) -> None:
        self.data.counts[self.source] = self.data.counts.get(self.source, 0) + 1
        self.data.origins.setdefault(self.source, set()).add(origin(record_id))


def _cut_to_words(text: str, start: int, end: int) -> tuple[int, int]:
    """A span without the punctuation and white space at its edges."""
    words = segment(text[start:end])
    return (start + words[0].start, start + words[-1].end) if words else (start, start)


def string(record: Mapping[str, Any], *keys: str) -> list[str]:
    """Values of a record that must be strings.

    Raises:
        ValueError: one is missing or not a string.
    """
    values = [record.get(key) for key in keys]
    for key, value in zip(keys, values, strict=True):
        if not isinstance(value, str):
            raise ValueError(f"`{key}` is {'missing' if value is None else 'not a string'}")
    return [str(value) for value in values]
