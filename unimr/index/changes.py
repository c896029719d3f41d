"""Which items of the validated tables were added, changed and removed between two moments."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from unimr.data.tables import read_table, table_files


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
