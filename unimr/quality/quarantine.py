"""Taking bad rows out, with all that hangs on them, and keeping them with their reasons."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from unimr.data.tables import SCHEMAS, table_files
from unimr.files import atomic_file, atomic_folder
from unimr.quality.catalogue import Catalogue
from unimr.quality.expectations import Outcome, broken_references

ID_COLUMNS = {
    "images": "image_id",
    "texts": "text_id",
    "queries": "query_id",
    "qrels": "query_id",
    "utterances": "utterance_id",
}
"""The column of each table that names a row to a person."""

QUARANTINE_SCHEMA = pa.schema(
    [
        ("table", pa.string()),
        ("row", pa.int64()),
        ("row_id", pa.string()),
        ("reasons", pa.list_(pa.string())),
        ("content", pa.string()),
    ]
)
"""A quarantined row: its table, its number there from 0, its id, why, and all of it as JSON without picture bytes."""

Reasons = dict[str, dict[int, list[str]]]
"""Table → row number → why it is in quarantine."""


@dataclass(frozen=True)
class Quarantine:
    """The rows that are taken out, of all tables."""

    reasons: Reasons

    def share(self, table: str, size: int) -> float:
        """Share of a table's `size` rows that are taken out."""
        return len(self.reasons[table]) / size if size else 0.0


def collect(catalogue: Catalogue, outcomes: Iterable[Outcome], suites: Mapping[str, Sequence[Any]]) -> Quarantine:
    """All rows that fail an expectation, then, again and again, rows that refer to one that is gone."""
    reasons: Reasons = {table: {} for table in SCHEMAS}
    for outcome in outcomes:
        for row, reason in outcome.failing.items():
            text = reason if reason.startswith(outcome.name) else f"{outcome.name}: {reason}"
            reasons[outcome.table].setdefault(int(row), []).append(text)
    while True:
        left = catalogue.without({table: set(rows) for table, rows in reasons.items()})
        dependent = {table: broken_references(list(suites[table]), left) for table in SCHEMAS}
        if not any(dependent.values()):
            return Quarantine({table: dict(sorted(rows.items())) for table, rows in reasons.items()})
        for table, failing in dependent.items():
            for row, reason in failing.items():
                reasons[table].setdefault(int(row), []).append(f"depends on a row in quarantine: {reason}")


def quarantine_table(catalogue: Catalogue, quarantine: Quarantine) -> pa.Table:
    """The quarantined rows by `QUARANTINE_SCHEMA`, ordered by table and row."""
    records = []
    for table, rows in quarantine.reasons.items():
        frame = catalogue.tables[table].loc[list(rows)].drop(columns="image", errors="ignore")
        for (row, why), content in zip(rows.items(), frame.to_dict("records"), strict=True):
            row_id = content[ID_COLUMNS[table]]
            records.append(
                {
                    "table": table,
                    "row": row,
                    "row_id": None if pd.isna(row_id) else str(row_id),
                    "reasons": why,
                    "content": _as_json(content),
                }
            )
    return pa.Table.from_pylist(records, schema=QUARANTINE_SCHEMA)


def _as_json(content: dict[str, Any]) -> str:
    plain = {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in content.items()}
    return json.dumps(plain, ensure_ascii=False, sort_keys=True)


def write_quarantine(folder: Path, table: pa.Table) -> Path:
    """Write the quarantined rows to `<folder>/quarantine.parquet`."""
    path = folder / "quarantine.parquet"
    with atomic_file(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")
    return path


def write_validated(prepared: Path, validated: Path, quarantine: Quarantine, table: pa.Table) -> None:
    """Write the clean data folder: files of which nothing is taken out, and all other files, are copied as they are."""
    with atomic_folder(validated) as folder:
        of_tables = {file: name for name in SCHEMAS for file in table_files(prepared, name)}
        for file in sorted(path for path in prepared.rglob("*") if path.is_file() and path not in of_tables):
            target = folder / file.relative_to(prepared)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        first = dict.fromkeys(SCHEMAS, 0)
        for file, name in of_tables.items():
            size = pq.read_metadata(file).num_rows
            out = [row - first[name] for row in quarantine.reasons[name] if first[name] <= row < first[name] + size]
            first[name] += size
            _write_clean(file, folder / file.name, out)
        write_quarantine(folder, table)


def _write_clean(file: Path, target: Path, out: list[int]) -> None:
    """Copy one Parquet file without the rows of these numbers."""
    if not out:
        shutil.copyfile(file, target)
        return
    rows = pq.read_table(file)
    keep = np.ones(len(rows), dtype=bool)
    keep[out] = False
    pq.write_table(rows.filter(pa.array(keep)), target, compression="zstd")
