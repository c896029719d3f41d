"""Stage `index`: builds a version from the embeddings, verifies it, and publishes it or keeps it back."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from unimr.evaluation.scoring import Retriever
from unimr.files import atomic_folder, read_json, write_json
from unimr.index import gate, verify
from unimr.index.catalogue import Catalogue, write_catalogue
from unimr.index.changes import taken_in
from unimr.index.embed import EMBEDDINGS, MODEL, TABLES, read_manifest, read_rows
from unimr.index.encoder import Encoder
from unimr.index.lexical import ARRAYS, VOCABULARY, LexicalIndex
from unimr.index.publish import (
    collection_name,
    keep_back,
    publish,
    publishing,
    verify_version,
    versions_folder,
    write_version_manifest,
)
from unimr.index.schema import COLLECTIONS
from unimr.index.store import Rows, Store, store_path
from unimr.params import IndexParams, Params

log = logging.getLogger(__name__)

METRICS = Path("metrics/index.json")
SLOT_VALUES = "slot_values.json"
LAYOUT = 2
"""Of a version folder; a change makes new versions of the same content."""


def run(params: Params, root: Path) -> None:
    """Run the stage `index` with the model in `models/train_joint`."""
    from unimr.model.manifest import model_version
    from unimr.model.retriever import UnifiedRetriever

    load = UnifiedRetriever.load
    build(params.index, root, load(root / MODEL), model_version(root / MODEL), load)


def build(
    params: IndexParams, root: Path, model: Encoder, model_version: str, load: Callable[[Path], Retriever]
) -> str:
    """Build and verify a version, and publish it unless its model is worse than the published one.

    Args:
        params: the section `index`.
        root: the project folder.
        model: the model in `models/train_joint`.
        model_version: its version.
        load: gives the model in a folder, where the gate has to measure one.

    Returns:
        The name of the version, a hash of its content.

    Raises:
        UnimrError: the embeddings or the build do not pass a check; the published version is unchanged.
    """
    tables, embeddings = root / TABLES, root / EMBEDDINGS
    manifest = read_manifest(embeddings)
    verify.check_origin(manifest, tables, model_version, model.dim)
    rows = {spec.name: read_rows(embeddings / f"{spec.name}.parquet", spec) for spec in COLLECTIONS}
    expected = verify.expected_ids(tables, params.text_languages)
    for spec in COLLECTIONS:
        verify.check_rows(spec, rows[spec.name], expected[spec.name], manifest)
    verify.check_canaries(tables, rows, model)
    version = content_hash(params, manifest)
    with publishing(root):
        folder = versions_folder(root) / version
        if not folder.exists():
            with atomic_folder(folder) as temporary:
                write_version(temporary, version, params, root, rows, manifest)
        notes = verify_version(folder)
        verdict = gate.judge(params.gate, root, folder, load)
        settle(root, version, verdict, params.keep_versions)
    found = {key: notes[key] for key in ("version", "model_version", "rows", "recall_at_10")}
    write_json(root / METRICS, found | {"published": verdict.passed, "gate": verdict.to_json()})
    return version


def settle(root: Path, version: str, verdict: gate.Verdict, keep: int) -> None:
    """Publish a version or keep it back, as the gate says, and say so. Call it inside `publishing`."""
    if verdict.passed:
        publish(root, version, keep)
        log.info("Published: %s", version)
    else:
        keep_back(root, version, keep)
        log.warning(
            "Kept, not published: %s. %s stays live. To publish it all the same: unimr publish %s",
            "; ".join(verdict.reasons), verdict.champion, version,
        )  # fmt: skip


def content_hash(params: IndexParams, manifest: dict[str, Any]) -> str:
    """Name of the version that these embeddings and parameters make."""
    of_embeddings = [manifest[key] for key in ("model_version", "data_hash", "files")]
    content = [LAYOUT, params.uri, params.index_type, *of_embeddings]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def write_version(
    folder: Path, version: str, params: IndexParams, root: Path, rows: dict[str, Rows], manifest: dict[str, Any]
) -> None:
    """Write everything a search needs into `folder`, and verify it as it will be opened.

    Raises:
        UnimrError: what was stored is not what was given, or is not found well enough.
    """
    uri = params.uri or store_path(folder)
    fill_store(uri, version, params.index_type, rows)
    for name in (ARRAYS, VOCABULARY):
        shutil.copyfile(root / EMBEDDINGS / name, folder / name)
    shutil.copyfile(root / TABLES / SLOT_VALUES, folder / SLOT_VALUES)
    shutil.copytree(root / MODEL, folder / "model")
    write_json(folder / gate.EVALUATION, read_json(root / gate.METRICS))
    write_catalogue(root / TABLES, folder)
    recall = check_store(uri, version, params, rows)
    verify.check_lexical(LexicalIndex.load(folder), Catalogue(folder))
    notes = {
        "version": version,
        "uri": params.uri,
        "index_type": params.index_type,
        "model_version": manifest["model_version"],
        "data_hash": manifest["data_hash"],
        "dim": manifest["dim"],
        "rows": manifest["rows"],
        "digests": manifest["digests"],
        "recall_at_10": recall,
        "live_changes": taken_in(root, root / TABLES),
    }
    write_version_manifest(folder, notes)


def fill_store(uri: str, version: str, index_type: str, rows: dict[str, Rows]) -> None:
    """Create and fill the collections of a version.

    What a killed build left of them on a server is removed. Those that are live there, as after `published` was removed
    or in a second checkout, stand: their name says what they hold, and it is checked like that of any other.
    """
    with Store(uri) as store:
        left = set(store.collections())
        for spec in COLLECTIONS:
            name, content = collection_name(version, spec), rows[spec.name]
            if name in left:
                if store.aliases(name):
                    continue
                store.drop(name)
            store.create(name, spec, content.vectors.shape[1], index_type, len(content.vectors))
            store.insert(name, spec, content)


def check_store(uri: str, version: str, params: IndexParams, rows: dict[str, Rows]) -> dict[str, float]:
    """Open the store again and check what it holds and finds; returns recall@10 by collection."""
    recall = {}
    with Store(uri) as store:
        for spec in COLLECTIONS:
            name = collection_name(version, spec)
            store.load(name)
            verify.check_stored(store, name, spec, rows[spec.name])
            recall[spec.name] = verify.check_recall(store, name, spec, rows[spec.name], params.min_recall_at_10)
    return recall
