"""Which items of the validated tables differ between two moments, and which live changes are in them already."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from unimr.data.live import read_changes
from unimr.data.tables import item_attributes, read_table, table_files


@dataclass(frozen=True)
class ItemChanges:
    """Ids of the items that differ, sorted."""

    added: list[str]
    changed: list[str]
    removed: list[str]

    def __str__(self) -> str:
        return f"Items added: {len(self.added):,}, changed: {len(self.changed):,}, removed: {len(self.removed):,}"


def item_digests(tables: Path) -> dict[str, str]:
    """Hash of all that the tables hold of each item: texts, pictures, attributes. Empty where there are no tables.

    Raises:
        UnimrError: a table is unreadable.
    """
    if not (table_files(tables, "texts") and table_files(tables, "images")):
        return {}
    rows: dict[str, list[str]] = defaultdict(list)
    texts = read_table(tables, "texts", ["item_id", "lang", "role", "text"])
    images = read_table(tables, "images", ["item_id", "style", "sha256", "attributes"])
    for table in (texts, images):
        for item, *values in table.itertuples(index=False):
            rows[item].append(json.dumps(values, sort_keys=True))
    return {item: hashlib.sha256("\n".join(sorted(found)).encode()).hexdigest() for item, found in rows.items()}


def item_changes(before: dict[str, str], after: dict[str, str]) -> ItemChanges:
    """Compare two answers of `item_digests`."""
    return ItemChanges(
        added=sorted(after.keys() - before.keys()),
        changed=sorted(item for item in after.keys() & before.keys() if after[item] != before[item]),
        removed=sorted(before.keys() - after.keys()),
    )


def taken_in(root: Path, tables: Path) -> dict[str, str]:
    """Live changes that the tables hold in full, as item → digest of its change: an index of them needs them no more.

    A change of which something was left out of the tables, as a keyword that is held out for tests, is not in full.

    Raises:
        UnimrError: the journal is damaged, or a table is unreadable.
    """
    changes = read_changes(root)
    if not changes:
        return {}
    texts = read_table(tables, "texts", ["item_id", "lang", "role", "text"])
    images = read_table(tables, "images", ["item_id", "style", "sha256", "attributes"])
    languages, attributes = set(texts["lang"]), item_attributes(images)
    has = {name: _rows_by_item(table, columns) for name, table, columns in (
        ("texts", texts, ["lang", "role", "text"]), ("images", images, ["style", "sha256"]),
    )}  # fmt: skip
    found = {}
    for item_id, change in changes.items():
        item, of_texts = change.item(languages), has["texts"].get(item_id, set())
        if item is None:
            whole = not of_texts and item_id not in has["images"]
        else:
            pictures = {(each.style, hashlib.sha256(each.data).hexdigest()) for each in item.pictures}
            given = {(text.lang, text.role, text.text) for text in item.texts}
            made = {role for _, role, _ in of_texts - given} <= {"description"}
            same = attributes.get(item_id, {"base": item.base_id}) == item.attributes
            whole = given <= of_texts and made and same and pictures == has["images"].get(item_id, set())
        if whole:
            found[item_id] = change.digest()
    return found


def _rows_by_item(table: pd.DataFrame, columns: list[str]) -> dict[str, set[tuple[str, ...]]]:
    rows: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for item, *values in table[["item_id", *columns]].itertuples(index=False):
        rows[item].add(tuple(values))
    return dict(rows)
