"""Stage `embed`: vectors of all pictures and of the names and descriptions, and the lexical index.

`data/embeddings/` holds `images.parquet` and `texts.parquet` (ids, attributes, a fixed-size-list column `vector`), the
lexical index, and `manifest.json`: the model's version, the hash of the tables, and the digest of what was written.

Only contents that this model has not embedded before are encoded; the others come from the embedding cache. That must
not change a byte of the result, and a matrix product rounds a row differently with the number of rows beside it. So
pictures are encoded in batches of one size, the last one filled up, and texts among those of their own length.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from unimr.data.tables import item_attributes, read_table, table_files
from unimr.errors import UnimrError
from unimr.files import atomic_folder, read_json, sha256_of, write_json
from unimr.index.embedding_cache import EmbeddingCache
from unimr.index.encoder import CatalogueEncoder, Encoder
from unimr.index.lexical import LexicalIndex
from unimr.index.schema import COLLECTIONS, IMAGES, NUMBER_FIELDS, TEXTS, UNKNOWN_NUMBER, CollectionSpec
from unimr.index.store import Rows, check_vectors
from unimr.params import Params
from unimr.training.device import THREADS, threads

log = logging.getLogger(__name__)

MODEL = Path("models/train_joint")
TABLES = Path("data/validated")
EMBEDDINGS = Path("data/embeddings")
MANIFEST = "manifest.json"
EMBEDDED_ROLES = ("name", "description")
MAX_TEXT_CHARACTERS = 4_000
"""Of a stored text; a longer one is cut for display, not for embedding."""


def run(params: Params, root: Path) -> None:
    """Run the stage `embed` with the model in `models/train_joint`."""
    from unimr.model.manifest import model_version
    from unimr.model.retriever import UnifiedRetriever

    with threads(THREADS):
        embed(params, root, UnifiedRetriever.load(root / MODEL), model_version(root / MODEL))


def embed(params: Params, root: Path, model: CatalogueEncoder, version: str) -> None:
    """Write `data/embeddings/` with a model of the given version.

    Raises:
        UnimrError: a table is missing or empty, or the model gave vectors that cannot be indexed.
    """
    tables = root / TABLES
    texts = read_table(tables, "texts")
    cache = EmbeddingCache(root, {"model_version": version, "batch_size": params.embed.batch_size}, model.dim)
    rows = {
        IMAGES.name: embed_images(tables, model, params.embed.batch_size, cache),
        TEXTS.name: embed_texts(tables, model, texts, params.index.text_languages, cache),
    }
    for spec in COLLECTIONS:
        check_vectors(f"The embeddings of {spec.name}", rows[spec.name].ids(spec), rows[spec.name].vectors, model.dim)
    cache.save()
    with atomic_folder(root / EMBEDDINGS) as folder:
        for spec in COLLECTIONS:
            write_rows(folder / f"{spec.name}.parquet", spec, rows[spec.name])
        LexicalIndex.build(texts).save(folder)
        write_json(folder / MANIFEST, describe(folder, rows, version, data_hash(tables), model.dim))
    for name, counts in cache.counts.items():
        log.info("%s: %d encoded, %d reused, %d rows", name, *counts.values(), len(rows[name].vectors))


def embed_images(tables: Path, model: Encoder, batch_size: int, cache: EmbeddingCache) -> Rows:
    """Rows of the collection `images`, in the order of the table."""
    images = read_table(tables, "images", ["image_id", "item_id", "style", "attributes", "image"])

    def encode(pictures: list[bytes]) -> np.ndarray:
        batches = [pictures[start : start + batch_size] for start in range(0, len(pictures), batch_size)]
        batches[-1] += batches[-1][:1] * (batch_size - len(batches[-1]))
        return np.concatenate([model.encode_images(batch) for batch in batches])[: len(pictures)]

    vectors = cache.encode(IMAGES.name, images["image"].tolist(), encode)
    attributes = images["attributes"].tolist()
    fields = {name: images[name].tolist() for name in ("image_id", "item_id", "style")}
    return Rows(fields | _attribute_columns(attributes), vectors)


def embed_texts(
    tables: Path, model: CatalogueEncoder, texts: pd.DataFrame, languages: list[str], cache: EmbeddingCache
) -> Rows:
    """Rows of the collection `texts`: names and descriptions in the given languages.

    Raises:
        UnimrError: there is no such text.
    """
    wanted = texts[texts["lang"].isin(languages) & texts["role"].isin(EMBEDDED_ROLES)]
    if wanted.empty:
        raise UnimrError(
            f"index.text_languages: there are no names or descriptions in {', '.join(languages)}. "
            f"The texts are in {', '.join(sorted(texts['lang'].unique()))}."
        )
    of_item = item_attributes(read_table(tables, "images", ["item_id", "attributes"]))
    fields = {name: wanted[name].tolist() for name in ("text_id", "item_id", "lang", "kind")}
    fields["text"] = [text[:MAX_TEXT_CHARACTERS] for text in wanted["text"]]
    attributes = [of_item.get(item, {}) for item in fields["item_id"]]
    vectors = cache.encode(TEXTS.name, wanted["text"].tolist(), model.encode_texts_alike)
    return Rows(fields | _attribute_columns(attributes), vectors)


def describe(folder: Path, rows: dict[str, Rows], version: str, tables_hash: str, dim: int) -> dict[str, Any]:
    """The manifest of an embeddings folder."""
    files = sorted(path for path in folder.iterdir() if path.name != MANIFEST)
    return {
        "model_version": version,
        "data_hash": tables_hash,
        "dim": dim,
        "rows": {spec.name: len(rows[spec.name].vectors) for spec in COLLECTIONS},
        "digests": {spec.name: digest(rows[spec.name].ids(spec), rows[spec.name].vectors) for spec in COLLECTIONS},
        "files": {path.name: sha256_of(path) for path in files},
    }


def data_hash(tables: Path) -> str:
    """Hash of the tables an index is made from: pictures, texts and the words of slot values.

    Raises:
        UnimrError: one of them is missing.
    """
    files = [*table_files(tables, "images"), *table_files(tables, "texts"), tables / "slot_values.json"]
    missing = [path for path in files if not path.exists()]
    if missing or len(files) < 3:
        raise UnimrError(f"{tables} lacks images, texts or slot_values.json. Run `dvc repro` to make them.")
    return hashlib.sha256("".join(sha256_of(path) for path in files).encode()).hexdigest()[:16]


def digest(ids: list[str], vectors: np.ndarray) -> str:
    """Checksum of vectors with their ids, whatever the order of the rows."""
    order = sorted(range(len(ids)), key=ids.__getitem__)
    checksum = hashlib.sha256("\n".join(ids[row] for row in order).encode())
    checksum.update(np.ascontiguousarray(vectors[order], np.float32).tobytes())
    return checksum.hexdigest()


def write_rows(path: Path, spec: CollectionSpec, rows: Rows) -> None:
    """Write rows of a collection as Parquet."""
    flat = pa.array(np.ascontiguousarray(rows.vectors, np.float32).reshape(-1))
    columns = {name: pa.array(rows.fields[name]) for name in spec.fields}
    columns["vector"] = pa.FixedSizeListArray.from_arrays(flat, rows.vectors.shape[1])
    pq.write_table(pa.table(columns), path, compression="zstd")


def read_rows(path: Path, spec: CollectionSpec) -> Rows:
    """Read rows written by `write_rows`.

    Raises:
        UnimrError: the file is missing or damaged, or lacks a column.
    """
    try:
        table = pq.read_table(path, columns=[*spec.fields, "vector"])
        vectors = table["vector"].combine_chunks()
        flat = vectors.flatten().to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
        shaped = flat.reshape(len(table), vectors.type.list_size)
        return Rows({name: table[name].to_pylist() for name in spec.fields}, shaped)
    except (pa.ArrowException, OSError, KeyError) as error:
        raise UnimrError(f"The embeddings {path} cannot be read ({error}). Run `dvc repro`.") from error


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of an embeddings folder, after checking every file against it.

    Raises:
        UnimrError: a file is missing or is not the one that was written.
    """
    manifest: dict[str, Any] = read_json(folder / MANIFEST)
    for name, expected in manifest["files"].items():
        if not (folder / name).exists() or sha256_of(folder / name) != expected:
            raise UnimrError(f"The embeddings file {folder / name} is missing or was changed. Run `dvc repro`.")
    return manifest


def _attribute_columns(attributes: list[dict[str, str]]) -> dict[str, list[Any]]:
    names = ("category", "subcategory", "skin_tone", "gender", "base")
    columns: dict[str, list[Any]] = {name: [each.get(name, "") for each in attributes] for name in names}
    return columns | {name: [_number(each.get(name)) for each in attributes] for name in NUMBER_FIELDS}


def _number(value: str | None) -> int:
    return int(value) if value is not None and value.isdecimal() else UNKNOWN_NUMBER
