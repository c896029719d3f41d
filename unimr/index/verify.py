"""Checks a build must pass before it is published; each failure is a UnimrError that states its reason."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unimr.data.tables import read_table
from unimr.errors import UnimrError
from unimr.index.catalogue import Catalogue
from unimr.index.embed import EMBEDDED_ROLES, data_hash, digest
from unimr.index.encoder import Encoder
from unimr.index.lexical import LexicalIndex
from unimr.index.schema import IMAGES, TEXTS, CollectionSpec, Filter, satisfies
from unimr.index.store import Rows, Store, check_vectors

CANARIES = 64
"""Rows that are embedded again, and queries whose answers are compared with exact search."""
SAME_VECTOR = 0.99
"""Cosine above which two embeddings of the same thing are the same: batches of other sizes round differently."""
TIE = 1e-5


def refuse(reason: str) -> UnimrError:
    """The error of a refused build."""
    return UnimrError(
        f"The index was not published: {reason} The published version is unchanged. "
        "Remove data/embeddings and run `dvc repro` to embed and build anew."
    )


def check_origin(manifest: dict[str, Any], tables: Path, version: str, dim: int) -> None:
    """Check that embeddings were made by this model from these tables.

    Raises:
        UnimrError: they come from another model or other tables (they are stale), or have another dimension.
    """
    if manifest["model_version"] != version:
        raise refuse(f"the embeddings were made by model {manifest['model_version']}, the model is {version}.")
    if manifest["data_hash"] != data_hash(tables):
        raise refuse("the embeddings are stale: the tables in data/validated have changed since.")
    if manifest["dim"] != dim:
        raise refuse(f"the embeddings have {manifest['dim']} dimensions, the model has {dim}.")


def check_rows(spec: CollectionSpec, rows: Rows, expected: Sequence[str], manifest: dict[str, Any]) -> None:
    """Check the embedded rows of a collection: exactly the expected ids, sound vectors, as they were written.

    Raises:
        UnimrError: a row is missing, repeated or unknown, a vector is unsound or not the one that was written.
    """
    ids = rows.ids(spec)
    if not ids:
        raise refuse(f"there are no {spec.name}.")
    try:
        check_vectors(f"the embeddings of {spec.name}", ids, rows.vectors, manifest["dim"])
    except UnimrError as error:
        raise refuse(str(error)) from error
    missing, unknown = sorted(set(expected) - set(ids)), sorted(set(ids) - set(expected))
    if missing:
        raise refuse(f"{len(missing)} of {len(expected)} {spec.name} are missing, the first is {missing[0]!r}.")
    if unknown:
        raise refuse(f"{len(unknown)} {spec.name} are not in the tables, the first is {unknown[0]!r}.")
    if digest(ids, rows.vectors) != manifest["digests"][spec.name]:
        raise refuse(f"the checksum of the {spec.name} is not the one in the manifest: ids or vectors were changed.")


def expected_ids(tables: Path, languages: list[str]) -> dict[str, list[str]]:
    """The ids that an index of these tables must hold, by collection."""
    texts = read_table(tables, "texts", ["text_id", "lang", "role"])
    wanted = texts["lang"].isin(languages) & texts["role"].isin(EMBEDDED_ROLES)
    images = read_table(tables, "images", ["image_id"])
    return {IMAGES.name: images["image_id"].tolist(), TEXTS.name: texts.loc[wanted, "text_id"].tolist()}


def check_canaries(tables: Path, rows: dict[str, Rows], model: Encoder) -> None:
    """Embed a sample of pictures and texts again and compare: catches ids and vectors that do not belong together.

    Raises:
        UnimrError: a stored vector is not that of its picture or text.
    """
    images = read_table(tables, "images", ["image_id", "image"]).set_index("image_id")["image"]
    texts = read_table(tables, "texts", ["text_id", "text"]).set_index("text_id")["text"]
    for spec, encode, source in (
        (IMAGES, model.encode_images, images),
        (TEXTS, model.encode_texts, texts),
    ):
        ids = rows[spec.name].ids(spec)
        sample = canary_rows(ids)
        fresh = encode([source[ids[row]] for row in sample])
        cosine = (fresh * rows[spec.name].vectors[sample]).sum(axis=1)
        if cosine.min() < SAME_VECTOR:
            wrong = ids[sample[int(cosine.argmin())]]
            raise refuse(
                f"{int((cosine < SAME_VECTOR).sum())} of {len(sample)} canaries of {spec.name} have the vector of "
                f"something else, the first is {wrong!r}: ids and vectors do not belong together."
            )


def canary_rows(ids: Sequence[str]) -> list[int]:
    """Rows of the canaries: drawn by a hash of their ids, so that an order of the rows cannot hide anything."""
    return sorted(range(len(ids)), key=lambda row: hashlib.sha256(ids[row].encode()).digest())[:CANARIES]


def check_stored(store: Store, name: str, spec: CollectionSpec, rows: Rows) -> None:
    """Check that the store holds exactly the rows: their number, and the checksum of ids and vectors read back.

    Raises:
        UnimrError: the store holds other rows.
    """
    ids = rows.ids(spec)
    count = store.count(name)
    if count != len(ids):
        raise refuse(f"the store holds {count} {spec.name}, not {len(ids)}.")
    stored = store.fetch(name, spec, ids)
    if len(stored) != len(ids):
        raise refuse(f"the store lacks {len(ids) - len(stored)} of the {spec.name} by their ids.")
    if digest(list(stored), np.stack(list(stored.values()))) != digest(ids, rows.vectors):
        raise refuse(f"the checksum of the {spec.name} in the store is not that of the embeddings.")


def recall_at_10(store: Store, name: str, spec: CollectionSpec, rows: Rows, filters: Sequence[Filter] = ()) -> float:
    """Share of the exact 10 nearest rows that the store finds, over canary queries; rows of equal score count alike."""
    rng = np.random.default_rng(0)
    queries = rows.vectors[canary_rows(rows.ids(spec))] + rng.normal(0, 0.02, (1, rows.vectors.shape[1]))
    queries = (queries / np.linalg.norm(queries, axis=1, keepdims=True)).astype(np.float32)
    names = [item.field for item in filters]
    allowed = (
        [
            row
            for row, values in enumerate(zip(*(rows.fields[field] for field in names), strict=True))
            if satisfies(dict(zip(names, values, strict=True)), filters)
        ]
        if filters
        else list(range(len(rows.vectors)))
    )
    exact = np.sort(queries @ rows.vectors[allowed].T, axis=1)[:, ::-1][:, :10]
    found = store.search(name, spec, queries, exact.shape[1], filters)
    place = {one: row for row, one in enumerate(rows.ids(spec))}
    good = 0
    for query, scores, hits in zip(queries, exact, found, strict=True):
        true = [float(query @ rows.vectors[place[hit.key]]) for hit in hits]
        good += sum(score >= scores[-1] - TIE for score in true)
    return good / exact.size


def check_recall(store: Store, name: str, spec: CollectionSpec, rows: Rows, minimum: float) -> float:
    """Recall@10 of the store against exact search, without and with a filter; returns the lower one.

    Raises:
        UnimrError: it is below the minimum.
    """
    field = "style" if spec is IMAGES else "lang"
    filters = [Filter(field, "==", rows.fields[field][0])]
    recall = min(recall_at_10(store, name, spec, rows), recall_at_10(store, name, spec, rows, filters))
    if recall < minimum:
        raise refuse(
            f"recall_at_10 of the {spec.name} against exact search is {recall:.3f}, below "
            f"index.min_recall_at_10 = {minimum}. Take index.index_type: FLAT."
        )
    return recall


def check_lexical(lexical: LexicalIndex, catalogue: Catalogue) -> None:
    """Check that the lexical index is about the items of the catalogue and finds canaries by their own names.

    Raises:
        UnimrError: it is about other items or does not find them.
    """
    unknown = sorted(set(lexical.items) - set(catalogue.items))
    if unknown:
        raise refuse(f"the lexical index has {len(unknown)} items that are not in the tables, as {unknown[0]!r}.")
    sample = [lexical.items[row] for row in canary_rows(lexical.items)]
    named = [(item, name) for item in sample for name in catalogue.items[item]["names"].values()]
    lost = [name for item, name in named if not _found(lexical, item, name)]
    if len(lost) > 0.02 * len(named):
        raise refuse(f"the lexical index does not find {len(lost)} of {len(named)} names, as {lost[0]!r}.")


def _found(lexical: LexicalIndex, item: str, name: str) -> bool:
    hits = lexical.search(name, 10)
    return any(hit.item_id == item or hit.score == hits[0].score for hit in hits)
