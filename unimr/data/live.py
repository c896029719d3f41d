"""The journal of live changes: what a running service was told to add, change and remove, before the next build.

`data/import/live.jsonl`, a change a line: an item in the format of `unimr import`, its pictures in base64 in the place
of paths, or the id of one that is removed. A line is on the disk before the change is acknowledged. A last line that a
crash cut short was never acknowledged: it is dropped. Stage `prepare` lays the changes over the items of all sources.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pydantic import ValidationError

from unimr.data.items import Item, ItemText, Picture
from unimr.data.own_lines import ItemLine
from unimr.errors import UnimrError
from unimr.files import fsync_path

JOURNAL = Path("data/import/live.jsonl")


@dataclass(frozen=True)
class LiveChange:
    """An item as it shall be from now on; `line` is None where it is removed. `pictures` are encoded bytes."""

    item_id: str
    line: ItemLine | None = None
    pictures: tuple[bytes, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The change as it stands in the journal."""
        if self.line is None:
            return {"removed": self.item_id}
        return {
            "item": self.line.model_dump(exclude_none=True),
            "pictures": [base64.b64encode(each).decode() for each in self.pictures],
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> LiveChange:
        """The change that a line of the journal is."""
        if "removed" in value:
            return cls(value["removed"])
        line = ItemLine.model_validate(value["item"])
        return cls(line.item_id, line, tuple(base64.b64decode(each) for each in value["pictures"]))

    def digest(self) -> str:
        """Hash of the change."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()

    def item(self, languages: set[str]) -> Item | None:
        """The item for stage `prepare`, with its texts in the configured languages; None where nothing is left."""
        if self.line is None:
            return None
        texts = tuple(ItemText(text.lang, text.role, text.text) for text in self.line.texts if text.lang in languages)
        base = self.line.base_id or self.item_id
        styles = [each.style for each in self.line.pictures]
        pictures = tuple(Picture(style, data) for style, data in zip(styles, self.pictures, strict=True))
        return Item(self.item_id, base, {**self.line.attributes, "base": base}, texts, pictures) if texts else None


class Journal:
    """The journal under `root`, opened by the one service that writes it.

    Raises:
        UnimrError: a line before the last is damaged.
    """

    def __init__(self, root: Path) -> None:
        self._path = root / JOURNAL
        self.changes, self._sound = _read(self._path)
        self._file: IO[bytes] | None = None

    def append(self, change: LiveChange) -> None:
        """Write a change down; it is on the disk when this returns.

        Raises:
            OSError: the disk is full or fails; the journal is as before.
        """
        file = self._file or self._open()
        end = file.seek(0, os.SEEK_END)
        try:
            file.write(json.dumps(change.to_json(), ensure_ascii=False).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            file.truncate(end)
            raise
        self.changes[change.item_id] = change

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def _open(self) -> IO[bytes]:
        """Make the file at the first change: where there is none yet, `dvc repro` has nothing to do."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("ab")
        self._file.truncate(self._sound)
        fsync_path(self._path.parent)
        return self._file


def with_live_changes(items: Sequence[Item], root: Path, languages: set[str]) -> list[Item]:
    """Items of the sources with the live changes laid over them.

    Raises:
        UnimrError: the journal is damaged.
    """
    changes = read_changes(root)
    kept = [item for item in items if item.item_id not in changes]
    changed = [change.item(languages) for change in changes.values()]
    return [*kept, *(item for item in changed if item is not None)]


def read_changes(root: Path) -> dict[str, LiveChange]:
    """The last change of every item in the journal under `root`; empty where there is none.

    Raises:
        UnimrError: the journal is damaged.
    """
    return _read(root / JOURNAL)[0]


def _read(path: Path) -> tuple[dict[str, LiveChange], int]:
    """The last change of every item, and how many bytes of the journal are sound."""
    changes: dict[str, LiveChange] = {}
    sound = 0
    if not path.exists():
        return changes, sound
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                break  # cut short, so never acknowledged
            try:
                change = LiveChange.from_json(json.loads(line))
            except (ValueError, KeyError, TypeError, ValidationError) as error:
                raise UnimrError(
                    f"{path}, line {number}, is damaged ({type(error).__name__}). Remove that line: the change it held "
                    "is lost; the others are kept."
                ) from error
            changes[change.item_id] = change
            sound += len(line)
    return changes, sound
