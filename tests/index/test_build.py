from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from unimr.errors import UnimrError
from unimr.files import read_json, write_json
from unimr.index.build import build
from unimr.index.embed import EMBEDDINGS, describe, read_rows, write_rows
from unimr.index.lexical import LexicalIndex
from unimr.index.publish import current_version, versions_folder
from unimr.index.schema import COLLECTIONS, IMAGES, TEXTS
from unimr.index.store import Rows, Store

from .small_index import DIM, VERSION, WordEncoder, index_params, word_encoder, write_tables


def rewrite(root: Path, spec, change) -> None:
    """Change embedded rows and sign the manifest again, as a faulty stage would."""
    folder = root / EMBEDDINGS
    rows = {each.name: read_rows(folder / f"{each.name}.parquet", each) for each in COLLECTIONS}
    rows[spec.name] = change(rows[spec.name])
    write_rows(folder / f"{spec.name}.parquet", spec, rows[spec.name])
    manifest = read_json(folder / "manifest.json")
    write_json(
        folder / "manifest.json",
        describe(folder, rows, manifest["model_version"], manifest["data_hash"], manifest["dim"]),
    )


def take(rows: Rows, order: list[int]) -> Rows:
    return Rows({name: [column[row] for row in order] for name, column in rows.fields.items()}, rows.vectors[order])


def with_vectors(rows: Rows, vectors: np.ndarray) -> Rows:
    return replace(rows, vectors=np.asarray(vectors, np.float32))


def spoiled(rows: Rows, row: int, value: float) -> Rows:
    vectors = rows.vectors.copy()
    vectors[row] = value
    return with_vectors(rows, vectors)


def other_id(rows: Rows) -> Rows:
    if "image_id" not in rows.fields:
        return rows
    return Rows(rows.fields | {"image_id": ["nobody/google", *rows.fields["image_id"][1:]]}, rows.vectors)


def swapped(rows: Rows) -> Rows:
    return with_vectors(rows, rows.vectors[[2, 1, 0, *range(3, len(rows.vectors))]])


ROW_SABOTAGE = {
    "missing row": (IMAGES, lambda r: take(r, list(range(1, 28))), "1 of 28 images are missing"),
    "missing text": (TEXTS, lambda r: take(r, list(range(27))), "1 of 28 texts are missing"),
    "duplicated row": (IMAGES, lambda r: take(r, [*range(28), 5]), "occurs more than once"),
    "unknown row": (IMAGES, lambda r: other_id(take(r, [0, *range(28)])), "1 images are not in the tables"),
    "empty": (IMAGES, lambda r: take(r, []), "there are no images"),
    "permuted ids": (IMAGES, lambda r: with_vectors(r, r.vectors[::-1]), "do not belong together"),
    "swapped vectors": (TEXTS, swapped, "do not belong together"),
    "NaN": (IMAGES, lambda r: spoiled(r, 3, np.nan), "NaN"),
    "infinity": (TEXTS, lambda r: spoiled(r, 3, np.inf), "NaN or infinity"),
    "zero vector": (IMAGES, lambda r: spoiled(r, 3, 0), "unit length"),
    "not normalised": (IMAGES, lambda r: with_vectors(r, r.vectors * 2), "unit length"),
    "wrong dimension": (TEXTS, lambda r: with_vectors(r, r.vectors[:, :32]), r"\[rows, 48\]"),
}


@pytest.mark.parametrize("kind", ROW_SABOTAGE)
def test_sabotaged_rows_are_refused_with_their_reason(root, kind):
    spec, change, reason = ROW_SABOTAGE[kind]
    rewrite(root, spec, change)
    with pytest.raises(UnimrError, match=rf"was not published: .*{reason}"):
        build(index_params(), root, WordEncoder(), VERSION, word_encoder)
    assert not (root / "published").exists()


def test_embeddings_of_another_model_are_refused(root):
    with pytest.raises(UnimrError, match=f"made by model {VERSION}, the model is other"):
        build(index_params(), root, WordEncoder(), "other", word_encoder)


def test_a_model_of_another_dimension_is_refused(root):
    with pytest.raises(UnimrError, match=f"{DIM} dimensions, the model has 32"):
        build(index_params(), root, WordEncoder(32), VERSION, word_encoder)


def test_a_model_that_embeds_otherwise_is_refused(root):
    class Retrained(WordEncoder):
        def _word(self, word):
            return super()._word(word + "!")

    with pytest.raises(UnimrError, match="do not belong together"):
        build(index_params(), root, Retrained(), VERSION, word_encoder)


def test_stale_embeddings_are_refused(root):
    write_tables(root, changed_name="tomcat")
    with pytest.raises(UnimrError, match="stale"):
        build(index_params(), root, WordEncoder(), VERSION, word_encoder)


def test_changed_vectors_under_an_old_manifest_are_refused(root):
    path = root / EMBEDDINGS / "images.parquet"
    write_rows(path, IMAGES, swapped(read_rows(path, IMAGES)))
    with pytest.raises(UnimrError, match=r"images\.parquet is missing or was changed"):
        build(index_params(), root, WordEncoder(), VERSION, word_encoder)


def test_a_lexical_index_of_something_else_is_refused(root):
    import pandas as pd

    folder = root / EMBEDDINGS
    texts = pd.DataFrame([("cat", "en", "name", "xyz")], columns=["item_id", "lang", "role", "text"])
    LexicalIndex.build(texts).save(folder)
    rewrite(root, IMAGES, lambda rows: rows)
    with pytest.raises(UnimrError, match="does not find"):
        build(index_params(), root, WordEncoder(), VERSION, word_encoder)


def faulty_insert(change):
    insert = Store.insert

    def wrong(self, name, spec, rows):
        insert(self, name, spec, change(rows))

    return wrong


STORE_SABOTAGE = {
    "loses a row": (lambda r: take(r, list(range(27))), "holds 27 images, not 28"),
    "swaps vectors": (swapped, "checksum of the images in the store"),
    "stores another id": (other_id, "lacks 1 of the images"),
}


@pytest.mark.parametrize("kind", STORE_SABOTAGE)
def test_a_store_that_holds_something_else_is_refused_and_nothing_is_left(published, monkeypatch, kind):
    before = current_version(published)
    change, reason = STORE_SABOTAGE[kind]
    monkeypatch.setattr(Store, "insert", faulty_insert(change))
    with pytest.raises(UnimrError, match=reason):
        build(index_params(index_type="HNSW"), published, WordEncoder(), VERSION, word_encoder)
    assert current_version(published) == before
    assert [path.name for path in versions_folder(published).iterdir()] == [before]


def test_a_search_that_misses_neighbours_is_refused(root, monkeypatch):
    search = Store.search
    monkeypatch.setattr(Store, "search", lambda self, *args: [hits[5:] for hits in search(self, *args)])
    with pytest.raises(UnimrError, match=r"recall_at_10 of the images .* is 0\.\d+, below index.min_recall"):
        build(index_params(), root, WordEncoder(), VERSION, word_encoder)


def test_a_version_holds_all_a_search_needs_and_metrics_are_written(published):
    folder = versions_folder(published) / current_version(published)
    manifest = json.loads((folder / "manifest.json").read_text())
    files = {"lexical.json", "items.json", "pictures.arrow", "slot_values.json", "model/config.json"}
    assert files <= set(manifest["files"])
    assert any(name.startswith("milvus.db/") for name in manifest["files"])
    metrics = read_json(published / "metrics/index.json")
    assert metrics["version"] == folder.name
    assert metrics["recall_at_10"] == {"images": 1.0, "texts": 1.0}


def test_the_same_content_is_the_same_version_and_is_not_built_again(published):
    folder = versions_folder(published) / current_version(published)
    written = (folder / "manifest.json").stat().st_mtime_ns
    assert build(index_params(), published, WordEncoder(), VERSION, word_encoder) == folder.name
    assert (folder / "manifest.json").stat().st_mtime_ns == written
