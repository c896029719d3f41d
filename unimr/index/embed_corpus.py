"""Embedding a large corpus: Parquet in, Parquet out, a part for each row group of the input.

The parts are shared by the processes that were launched together (`accelerate launch`, `torchrun`, or RANK and
WORLD_SIZE set by hand, on as many machines as see both folders). None of them waits for another: a part depends on its
rows, the model and the batch size alone, so its bytes are the same whoever made it. A part is done when its note stands
in `_done/` (which readers of Parquet folders leave out), with the SHA-256 of the part and what it was made from; a run
that was killed goes on with the others.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from unimr.errors import UnimrError
from unimr.files import atomic_file, read_json, sha256_of, write_json
from unimr.index.encoder import Encoder
from unimr.index.store import check_vectors

log = logging.getLogger(__name__)

CONTENTS = ("text", "image")
"""The column that is embedded: strings, or the bytes of pictures."""


@dataclass(frozen=True)
class Part:
    """A row group of the corpus, and the file of its embeddings."""

    number: int
    source: Path
    row_group: int
    footer: str

    def path(self, folder: Path) -> Path:
        """Where its embeddings lie."""
        return folder / f"part-{self.number:06d}.parquet"

    def note(self, folder: Path) -> Path:
        """Where it is noted that it is done."""
        return folder / "_done" / f"part-{self.number:06d}.json"


def run(corpus: Path, folder: Path, model: Path, batch_size: int) -> dict[str, int]:
    """Embed a corpus with a saved model, on the GPU of this process if there is one; see `embed_corpus`."""
    import torch

    from unimr.model.manifest import model_version
    from unimr.model.retriever import UnifiedRetriever
    from unimr.training.device import THREADS

    torch.set_num_threads(THREADS)
    encoder = UnifiedRetriever.load(model)
    if torch.cuda.is_available():
        encoder.to(torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))))
    return embed_corpus(corpus, folder, encoder, model_version(model), batch_size)


def embed_corpus(corpus: Path, folder: Path, model: Encoder, version: str, batch_size: int) -> dict[str, int]:
    """Embed this process's parts of a corpus; gives how many it has, embedded, and found done.

    Args:
        corpus: a Parquet file, or a folder of them, with the columns `id` and `text` or `image`.
        folder: where the parts go: `id`, `vector` (unit length), a row each.
        model: what embeds.
        version: of the model; parts of another one are made anew.
        batch_size: rows encoded at a time.

    Raises:
        UnimrError: the corpus is missing or lacks a column, a picture cannot be read, a vector is not finite, or the
            folder holds the parts of a larger corpus.
    """
    index, count = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    parts = parts_of(corpus)
    _require_no_others(folder, parts)
    own, embedded = parts[index::count], 0
    for part in own:
        made_from = {"model": version, "batch_size": batch_size, "row_group": part.row_group, "footer": part.footer}
        if is_done(part, folder, made_from):
            continue
        rows = _embed(part, folder, model, batch_size)
        note = {"made_from": made_from, "rows": rows, "sha256": sha256_of(part.path(folder))}
        write_json(part.note(folder), note)
        embedded += 1
        log.info("%s: %d rows (%d of %d parts of process %d)", part.path(folder).name, rows, embedded, len(own), index)
    return {"parts": len(own), "embedded": embedded, "done_before": len(own) - embedded}


def parts_of(corpus: Path) -> list[Part]:
    """All parts of a corpus, in the order of the names of its files.

    Raises:
        UnimrError: there is no Parquet file, or one of them has not the columns.
    """
    files = sorted(corpus.glob("*.parquet")) if corpus.is_dir() else [corpus]
    if not files or not files[0].exists():
        raise UnimrError(f"There is no Parquet file in {corpus}. Give a file, or a folder of files, named *.parquet.")
    found = [(path, group, _footer(path)) for path in files for group in range(_open(path).num_row_groups)]
    return [Part(number, *each) for number, each in enumerate(found)]


def _require_no_others(folder: Path, parts: list[Part]) -> None:
    known = {part.path(folder).name for part in parts}
    other = sorted(path.name for path in folder.glob("part-*.parquet") if path.name not in known)
    if other:
        raise UnimrError(
            f"{folder} holds {other[0]}, but the corpus has {len(parts)} parts: it is of another one. "
            "Give another folder, or remove this one."
        )


def is_done(part: Part, folder: Path, made_from: dict[str, Any]) -> bool:
    """Whether a part is whole and made from these rows by this model; a damaged one is named in the log."""
    path = part.path(folder)
    if not part.note(folder).exists():
        return False
    try:
        note = read_json(part.note(folder))
    except UnimrError as error:
        log.warning("%s It is embedded anew.", error)
        return False
    if note.get("made_from") != made_from:
        return False
    if not path.exists() or sha256_of(path) != note["sha256"]:
        log.warning("The part %s is missing or damaged and is embedded anew.", path)
        return False
    return True


def _open(path: Path) -> pq.ParquetFile:
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise UnimrError(f"{path} cannot be read as Parquet ({error}).") from error
    names = file.schema_arrow.names
    if "id" not in names or len(set(CONTENTS) & set(names)) != 1:
        raise UnimrError(f"{path} has the columns {', '.join(names)}; it needs `id`, and either `text` or `image`.")
    return file


def _footer(path: Path) -> str:
    """Hash of what a Parquet file says of its contents: place, size and bounds of every column of every row group."""
    with path.open("rb") as handle:
        handle.seek(-8, os.SEEK_END)
        length = int.from_bytes(handle.read(4), "little")
        handle.seek(-8 - length, os.SEEK_END)
        return hashlib.sha256(handle.read(length)).hexdigest()


def _embed(part: Part, folder: Path, model: Encoder, batch_size: int) -> int:
    """Write the embeddings of a part; gives the number of its rows."""
    file = _open(part.source)
    (column,) = set(CONTENTS) & set(file.schema_arrow.names)
    table = file.read_row_group(part.row_group, columns=["id", column])
    ids, contents = [str(each) for each in table["id"].to_pylist()], table[column].to_pylist()
    encode: Any = model.encode_texts if column == "text" else model.encode_images
    batches = [encode(batch) for batch in _batches(contents, batch_size)]
    vectors = np.concatenate([np.zeros((0, model.dim), np.float32), *batches])
    check_vectors(f"Row group {part.row_group} of {part.source}", ids, vectors, model.dim)
    flat = pa.array(np.ascontiguousarray(vectors, np.float32).reshape(-1))
    columns = {"id": pa.array(ids, pa.string()), "vector": pa.FixedSizeListArray.from_arrays(flat, model.dim)}
    with atomic_file(part.path(folder)) as temporary:
        pq.write_table(pa.table(columns), temporary, compression="zstd", use_dictionary=False)  # all differ
    return len(ids)


def _batches(contents: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(contents), size):
        yield contents[start : start + size]
