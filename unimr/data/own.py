"""A user's own catalogue: `unimr import FILE`, and how stage `prepare` reads what was imported.

The format is described in `docs/own-data.md`. An import is whole or not at all: every line is checked first, and only
then does the copy, `data/import/catalogue`, take the place of an earlier one. It holds the same lines, with every
picture's path replaced by its name in one archive.
"""

from __future__ import annotations

import hashlib
import json
import logging
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from pydantic_core import ErrorDetails, from_json

from unimr.data.archive import add_member, read_members
from unimr.data.images import open_picture, read_picture_file
from unimr.data.items import Item, ItemText, Picture
from unimr.data.own_lines import ItemLine, PictureLine, UtteranceContent, UtteranceLine
from unimr.data.text import normalise
from unimr.errors import UnimrError
from unimr.files import atomic_folder, read_json
from unimr.params import PrepareParams

log = logging.getLogger(__name__)

CATALOGUE_FOLDER = Path("data/import/catalogue")
LINES, PICTURES = "catalogue.jsonl", "pictures.tar"
SUITE = Path("expectations/images.json")
MAX_LINE_BYTES = 2**20
MAX_PROBLEMS = 10
SIDES = range(16, 4097)
"""Pixels that a side of a picture may have."""


@dataclass(frozen=True)
class ImportSummary:
    """How much was imported."""

    items: int
    texts: int
    pictures: int
    utterances: int


def import_file(file: Path, root: Path) -> ImportSummary:
    """Check a JSONL file and copy it with its pictures to `data/import/catalogue` under `root`.

    Raises:
        UnimrError: the file is missing or breaks the format; the message names up to ten lines. Nothing is written.
    """
    if not file.is_file():
        raise UnimrError(f"There is no file {file}. Give a JSON Lines file as docs/own-data.md describes it.")
    with atomic_folder(root / CATALOGUE_FOLDER) as folder:
        with tarfile.open(folder / PICTURES, "w", format=tarfile.USTAR_FORMAT) as archive:
            reading = _Import(file, _known_styles(root), archive)
            lines = [json.dumps(line, ensure_ascii=False) + "\n" for line in reading.lines()]
        problems = reading.problems or reading.dangling()
        if problems:
            raise UnimrError(_explain(file, problems))
        (folder / LINES).write_text("".join(lines), encoding="utf-8")
    return reading.summary()


def _known_styles(root: Path) -> list[str]:
    """The styles that a picture may have, from the suite that will check them."""
    suite = read_json(root / SUITE)
    about_styles = [entry["kwargs"] for entry in suite["expectations"] if entry["kwargs"].get("column") == "style"]
    return [style for arguments in about_styles for style in arguments.get("value_set", ())]


def _explain(file: Path, problems: list[str]) -> str:
    shown = "; ".join(problems[:MAX_PROBLEMS])
    more = "; and perhaps more" if len(problems) >= MAX_PROBLEMS else ""
    return f"{file} was not imported: {shown}{more}. See docs/own-data.md for the format, correct the file and repeat."


class _Import:
    """One pass over the file: checks each line, writes its pictures to the archive, and collects the problems."""

    def __init__(self, file: Path, styles: list[str], archive: tarfile.TarFile) -> None:
        self.file, self.styles, self.archive = file, styles, archive
        self.problems: list[str] = []
        self._items: dict[str, tuple[int, ItemLine]] = {}
        self._utterances: dict[tuple[str, str], tuple[int, UtteranceContent]] = {}
        self._members: set[str] = set()

    def lines(self) -> Iterator[dict[str, object]]:
        """The lines to keep; stops early when there are too many problems to go on."""
        for number, line in _raw_lines(self.file):
            if len(self.problems) >= MAX_PROBLEMS:
                return
            try:
                yield from self._checked(number, line)
            except ValidationError as error:
                self.problems += [f"line {number}: {_said(problem)}" for problem in error.errors()[:3]]
            except (ValueError, UnimrError) as error:
                self.problems.append(f"line {number}: {str(error).rstrip('.')}")

    def dangling(self) -> list[str]:
        """References to items that the file does not have."""
        bases = [(number, item.base_id or item.item_id) for number, item in self._items.values()]
        asked = [(number, found.item_id) for number, found in self._utterances.values() if found.item_id]
        unknown = [f"line {line}: there is no item {item!r}" for line, item in bases + asked if item not in self._items]
        nested = [
            f"line {number}: the base item {base!r} is itself a variant; name the base of that one"
            for number, base in bases
            if base in self._items and self._items[base][1].base_id not in (None, base)
        ]
        empty = [] if self._items else ["it holds no item"]
        return sorted(unknown + nested, key=lambda problem: int(problem.split()[1].rstrip(":")))[:MAX_PROBLEMS] + empty

    def summary(self) -> ImportSummary:
        """Counts of what was read."""
        items = [item for _, item in self._items.values()]
        texts, pictures = sum(len(item.texts) for item in items), sum(len(item.pictures) for item in items)
        return ImportSummary(len(items), texts, pictures, len(self._utterances))

    def _checked(self, number: int, line: bytes) -> Iterator[dict[str, object]]:
        if len(line) > MAX_LINE_BYTES:
            raise ValueError(f"it is longer than {MAX_LINE_BYTES:,} bytes")
        values = from_json(line)
        if isinstance(values, dict) and "utterance" in values:
            utterance = UtteranceLine.model_validate(values)
            self._add_utterance(number, utterance.utterance)
            yield utterance.model_dump(exclude_none=True)
        else:
            item = ItemLine.model_validate(values)
            if item.item_id in self._items:
                raise ValueError(f"the item {item.item_id!r} stands already in line {self._items[item.item_id][0]}")
            self._items[item.item_id] = number, item
            pictures = [{"style": each.style, "path": self._copy(each)} for each in item.pictures]
            yield item.model_dump(exclude_none=True) | {"pictures": pictures}

    def _add_utterance(self, number: int, utterance: UtteranceContent) -> None:
        key = utterance.lang, normalise(utterance.text)
        if key in self._utterances:
            raise ValueError(f"the utterance {utterance.text!r} stands already in line {self._utterances[key][0]}")
        self._utterances[key] = number, utterance

    def _copy(self, picture: PictureLine) -> str:
        """Check one picture, put it into the archive, and return its name there."""
        if picture.style not in self.styles:
            known = ", ".join(self.styles)
            raise ValueError(f"the style {picture.style!r} is not one of {known}; {SUITE} lists them, add yours there")
        data = read_picture_file(self._inside(picture.path))
        size = open_picture(data).size
        if not all(side in SIDES for side in size):
            raise ValueError(f"{picture.path} has {size[0]} x {size[1]} pixels; a side has {SIDES[0]} to {SIDES[-1]}")
        name = hashlib.sha256(data).hexdigest()
        if name not in self._members:
            self._members.add(name)
            add_member(self.archive, name, data)
        return name

    def _inside(self, path: str) -> Path:
        """The picture's place, which must lie in the folder of the file, also after following links."""
        folder = self.file.resolve().parent
        try:
            found = (folder / path).resolve()
        except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
            raise ValueError(f"the path {path!r} cannot be followed ({error})") from error
        if Path(path).is_absolute() or not found.is_relative_to(folder):
            raise ValueError(
                f"the path {path!r} leads out of {folder}; give it relative to the file and inside its folder"
            )
        return found


def _raw_lines(file: Path) -> Iterator[tuple[int, bytes]]:
    """Numbered lines that are not blank, each read up to a byte more than is allowed."""
    with file.open("rb") as handle:
        number = 0
        while line := handle.readline(MAX_LINE_BYTES + 1):
            number += 1
            line = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
            if line.strip():
                yield number, line
            while line and len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
                line = handle.readline(MAX_LINE_BYTES + 1)  # the rest of a line that is too long


def _said(problem: ErrorDetails) -> str:
    """One problem of pydantic in words: where in the line, and what."""
    place = ".".join(str(part) for part in problem["loc"])
    message = problem["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message


def read_own_items(params: PrepareParams, root: Path) -> list[Item]:
    """The imported items, with their texts in the configured languages; an item without any of them is left out.

    Raises:
        UnimrError: nothing was imported, or nothing of it is in a configured language.
    """
    wanted = {*params.languages, *params.untrained_languages}
    found = [line for line in _imported(root) if isinstance(line, ItemLine)]
    members = read_members(root / CATALOGUE_FOLDER / PICTURES, {each.path for item in found for each in item.pictures})
    items = [_item(line, wanted, members) for line in found]
    kept = [item for item in items if item.texts]
    if not kept:
        langs = sorted({text.lang for line in found for text in line.texts})
        raise UnimrError(
            f"No imported item has a text in a language of prepare.languages; they have {', '.join(langs)}. "
            "Change prepare.languages in params.yaml."
        )
    if len(kept) < len(items):
        log.warning("%d imported items have no text in a configured language and are left out", len(items) - len(kept))
    return kept


def _item(line: ItemLine, languages: set[str], members: dict[str, bytes]) -> Item:
    base = line.base_id or line.item_id
    texts = tuple(ItemText(text.lang, text.role, text.text) for text in line.texts if text.lang in languages)
    pictures = tuple(Picture(each.style, members[each.path]) for each in line.pictures)
    return Item(line.item_id, base, {**line.attributes, "base": base}, texts, pictures)


def read_own_utterances(root: Path) -> list[UtteranceContent]:
    """The imported utterances.

    Raises:
        UnimrError: nothing was imported.
    """
    return [line.utterance for line in _imported(root) if isinstance(line, UtteranceLine)]


def _imported(root: Path) -> Iterator[ItemLine | UtteranceLine]:
    path = root / CATALOGUE_FOLDER / LINES
    if not path.exists():
        raise UnimrError(
            "prepare.sources has `import`, but nothing was imported yet. Run `unimr import FILE` first "
            "(docs/own-data.md), or take `import` out of prepare.sources in params.yaml."
        )
    with path.open(encoding="utf-8") as handle:
        for line in handle:
            values = from_json(line)
            yield UtteranceLine.model_validate(values) if "utterance" in values else ItemLine.model_validate(values)
