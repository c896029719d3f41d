"""The four tables every source is turned into, and how they are read and written.

`images`, `texts`, `queries` with `qrels`, and `utterances` (see `data/README.md`). Pictures live inside Parquet as
encoded bytes, in shards of at most 64 MiB.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from unimr.errors import UnimrError
from unimr.files import atomic_file

SHARD_BYTES = 64 * 2**20
"""Encoded picture bytes in one Parquet file at most."""

SLOT_TYPE = pa.struct([("start", pa.int32()), ("end", pa.int32()), ("label", pa.string())])

SCHEMAS: dict[str, pa.Schema] = {
    "images": pa.schema(
        [
            ("image_id", pa.string()),
            ("item_id", pa.string()),
            ("style", pa.string()),
            ("image", pa.binary()),
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("sha256", pa.string()),
            ("attributes", pa.map_(pa.string(), pa.string())),
            ("split", pa.string()),
        ]
    ),
    "texts": pa.schema(
        [
            ("text_id", pa.string()),
            ("item_id", pa.string()),
            ("lang", pa.string()),
            ("kind", pa.string()),
            ("role", pa.string()),
            ("text", pa.string()),
            ("split", pa.string()),
        ]
    ),
    "queries": pa.schema(
        [
            ("query_id", pa.string()),
            ("task", pa.string()),
            ("lang", pa.string()),
            ("text", pa.string()),
            ("image_id", pa.string()),
            ("split", pa.string()),
        ]
    ),
    "qrels": pa.schema([("query_id", pa.string()), ("item_id", pa.string()), ("relevance", pa.int32())]),
    "utterances": pa.schema(
        [
            ("utterance_id", pa.string()),
            ("lang", pa.string()),
            ("text", pa.string()),
            ("intent", pa.string()),
            ("slots", pa.list_(SLOT_TYPE)),
            ("item_id", pa.string()),
            ("split", pa.string()),
        ]
    ),
}
"""Table name → Arrow schema. The order of the columns is part of the contract."""


def table_files(folder: Path, name: str) -> list[Path]:
    """The Parquet files of a table in a folder: `<name>.parquet`, or the shards `<name>-00000.parquet` and on."""
    single = folder / f"{name}.parquet"
    return [single] if single.exists() else sorted(folder.glob(f"{name}-[0-9]*.parquet"))


def read_table(folder: Path, name: str, columns: list[str] | None = None) -> pd.DataFrame:
    """Read one table as a pandas frame; the map column `attributes` becomes a `dict` a row.

    Raises:
        UnimrError: the table is missing, unreadable or lacks a column of its schema.
    """
    files = table_files(folder, name)
    if not files:
        raise UnimrError(f"The table `{name}` is missing in {folder}. Run `dvc repro` to make it.")
    wanted = columns or SCHEMAS[name].names
    try:
        table = pa.concat_tables([pq.read_table(file, columns=wanted) for file in files])
    except (pa.ArrowException, OSError) as error:
        message = f"The table `{name}` in {folder} cannot be read ({error}). Remove it and run `dvc repro`."
        raise UnimrError(message) from error
    lacking = [column for column in wanted if column not in table.column_names]
    if lacking:
        raise UnimrError(f"The table `{name}` in {folder} lacks the column(s) {', '.join(lacking)}.")
    frame = table.to_pandas(maps_as_pydicts="strict")
    if "slots" in frame:
        frame["slots"] = [list(slots) if slots is not None else None for slots in frame["slots"]]
    return frame


def write_table(folder: Path, name: str, frame: pd.DataFrame) -> list[Path]:
    """Write one table to a folder, images in shards; the same rows give the same bytes.

    Raises:
        UnimrError: a column is missing or a value does not fit its type.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shards = list(_image_shards(frame)) if name == "images" else [frame]
    paths = []
    for number, shard in enumerate(shards):
        path = folder / (f"{name}-{number:05d}.parquet" if name == "images" else f"{name}.parquet")
        with atomic_file(path) as temporary:
            pq.write_table(_to_arrow(name, shard), temporary, compression="zstd")
        paths.append(path)
    return paths


def _to_arrow(name: str, frame: pd.DataFrame) -> pa.Table:
    schema = SCHEMAS[name]
    columns = {column: frame[column].tolist() for column in schema.names if column in frame}
    if "attributes" in columns:
        columns["attributes"] = [list(value.items()) for value in columns["attributes"]]
    nullable = {
        column: [None if value is pd.NA or value != value else value for value in values]
        if column in ("item_id", "image_id")
        else values
        for column, values in columns.items()
    }
    try:
        return pa.table([pa.array(nullable[field.name], field.type) for field in schema], schema=schema)
    except KeyError as error:
        raise UnimrError(f"The table `{name}` lacks the column {error}.") from error
    except (pa.ArrowException, TypeError) as error:
        raise UnimrError(f"The table `{name}` does not fit its schema: {error}.") from error


def _image_shards(frame: pd.DataFrame) -> Iterable[pd.DataFrame]:
    shards, size = [0] * len(frame), 0
    for row, length in enumerate(map(len, frame["image"])):
        is_full = row > 0 and size + length > SHARD_BYTES
        size = length if is_full else size + length
        shards[row] = shards[row - 1] + is_full
    return [rows for _, rows in frame.groupby(shards)] or [frame]


def item_attributes(images: pd.DataFrame) -> dict[str, dict[str, str]]:
    """Attributes of every item, from its pictures: item_id → {"category": …, "year": …}."""
    return dict(zip(images["item_id"], images["attributes"], strict=True))
