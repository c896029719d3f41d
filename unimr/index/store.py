"""The vector store: the only file that knows Milvus.

A URI is all that tells an embedded Milvus Lite folder (`…/milvus.db`) from a server (`http://host:19530`). Milvus
Lite accepts NaN, zero vectors and repeated keys, so rows are checked here before they are stored. Vectors have unit
length (checked), so the inner product is the cosine; the engine of Milvus Lite computes the norms of all rows at
every search under COSINE, which the inner product saves (10,458 rows of 256: 11 ms instead of 16 ms).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unimr.errors import UnimrError
from unimr.index.milvus import import_pymilvus
from unimr.index.schema import NUMBER_FIELDS, UNKNOWN_NUMBER, CollectionSpec, Filter, group_filters

METRIC = "IP"
ROWS_AT_A_TIME = 1_000
QUERIES_AT_A_TIME = 50
UNIT_TOLERANCE = 1e-3
KEY_BYTES = 512
TEXT_BYTES = 16_384
TIMEOUT_SECONDS = 60.0
SEARCH_SECONDS = 10.0
"""How long a server may take to answer a search: a service that waits for one that hangs answers nothing else."""
_NO_PINGS = {"grpc.keepalive_time_ms": 2**31 - 1}
"""The server inside Milvus Lite hangs up on a client that pings an idle connection, as pymilvus does by default."""


class StoreUnavailableError(UnimrError):
    """The store does not answer now; the same call may succeed later."""


@dataclass(frozen=True)
class Rows:
    """Rows of a collection: one value a row in every field of the specification, and `vectors [rows, dim]`."""

    fields: dict[str, list[Any]]
    vectors: np.ndarray

    def ids(self, spec: CollectionSpec) -> list[str]:
        """The keys of the rows."""
        return self.fields[spec.key]


@dataclass(frozen=True)
class StoredHit:
    """A row that was found: its similarity (the cosine, larger is nearer), its key and its item."""

    score: float
    key: str
    item_id: str


def nearest_and_margin(hits: Sequence[StoredHit]) -> tuple[float | None, float | None]:
    """Similarity of the nearest row, and how far it lies above that of the next item; None where there is none."""
    if not hits:
        return None, None
    following = next((hit.score for hit in hits if hit.item_id != hits[0].item_id), None)
    return round(hits[0].score, 6), None if following is None else round(hits[0].score - following, 6)


def check_vectors(what: str, ids: Sequence[str], vectors: np.ndarray, dim: int) -> None:
    """Check what Milvus Lite would accept silently.

    Raises:
        UnimrError: rows are missing or repeated, or a vector is NaN, zero, not of unit length or of a wrong dimension.
    """
    if len(ids) != len(vectors):
        raise UnimrError(f"{what}: {len(ids)} ids but {len(vectors)} vectors.")
    if vectors.ndim != 2 or vectors.shape[1] != dim:
        raise UnimrError(f"{what}: the vectors have the shape {vectors.shape}, not [rows, {dim}].")
    if len(set(ids)) != len(ids):
        seen: set[str] = set()
        twice = next(one for one in ids if one in seen or seen.add(one))  # type: ignore[func-returns-value]
        raise UnimrError(f"{what}: the id {twice!r} occurs more than once.")
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        raise UnimrError(f"{what}: the vector of {ids[int(finite.argmin())]!r} holds NaN or infinity.")
    wrong = np.abs(np.linalg.norm(vectors, axis=1) - 1) > UNIT_TOLERANCE
    if wrong.any():
        raise UnimrError(f"{what}: the vector of {ids[int(wrong.argmax())]!r} does not have unit length.")


def expression(filters: Iterable[Filter]) -> str:
    """The Milvus expression of typed filters. Values are written as JSON literals, so that none can end early."""
    parts = [" or ".join(map(_comparison, group)) for group in group_filters(filters)]
    return " and ".join(f"({part})" for part in parts)


def _comparison(item: Filter) -> str:
    literal = json.dumps(item.value, ensure_ascii=False)
    text = f"{item.field} {item.op} {literal}"
    if item.field in NUMBER_FIELDS and item.op in ("<", "<=", "!="):
        return f"({text} and {item.field} != {UNKNOWN_NUMBER})"
    return text


class Store:
    """One open store. Milvus Lite locks its folder: one process at a time, until `close`.

    Raises:
        UnimrError: the folder is in use by another process.
        StoreUnavailableError: the server does not answer.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self.embedded = "://" not in uri
        import_pymilvus()
        from pymilvus import MilvusClient
        from pymilvus.exceptions import ConnectionConfigException, MilvusException

        # Every failure is raised as a UnimrError; the libraries would also log it, and calls that Lite lacks.
        for library in ("pymilvus", "milvus_lite", "grpc"):
            logging.getLogger(library).setLevel(logging.CRITICAL)
        try:
            self._client = MilvusClient(uri, timeout=TIMEOUT_SECONDS, grpc_options=_NO_PINGS if self.embedded else {})
        except ConnectionConfigException as error:
            raise UnimrError(
                f"The index {uri} cannot be opened: another process holds it, or it is damaged. "
                "Stop that process, or open a copy of the folder."
            ) from error
        except MilvusException as error:
            raise StoreUnavailableError(
                f"The index server {uri} does not answer ({error.message}). Start it, or check "
                "`index.uri` in params.yaml."
            ) from error

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection and give the lock of an embedded folder back."""
        self._client.close()
        if self.embedded:
            from milvus_lite.server_manager import server_manager_instance

            server_manager_instance.release_server(self.uri)

    def create(self, name: str, spec: CollectionSpec, dim: int, index_type: str, rows: int) -> None:
        """Create an empty collection; `rows` is how many it will hold (it sizes the cells of IVF_SQ8).

        Raises:
            UnimrError: a collection of that name exists.
        """
        from pymilvus import DataType

        schema = self._client.create_schema(auto_id=False)
        schema.add_field(spec.key, DataType.VARCHAR, is_primary=True, max_length=KEY_BYTES)
        for field in spec.strings:
            schema.add_field(field, DataType.VARCHAR, max_length=TEXT_BYTES if field == "text" else KEY_BYTES)
        for field in NUMBER_FIELDS:
            schema.add_field(field, DataType.INT64)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=dim)
        build = _build_parameters(index_type, rows)
        index = self._client.prepare_index_params()
        # Milvus Lite reads the inner copy of the build parameters, a server the outer one.
        index.add_index("vector", index_type=index_type, metric_type=METRIC, params={**build, "params": build})
        with self._explained("create", name):
            if self._client.has_collection(name):
                raise UnimrError(f"The index {self.uri} already has a collection {name}.")
            self._client.create_collection(name, schema=schema, index_params=index)

    def insert(self, name: str, spec: CollectionSpec, rows: Rows) -> None:
        """Insert rows in batches, make them durable and load the collection.

        Raises:
            UnimrError: the rows do not pass `check_vectors`.
        """
        ids = rows.ids(spec)
        check_vectors(name, ids, rows.vectors, rows.vectors.shape[-1])
        columns = [rows.fields[field] for field in spec.fields]
        with self._explained("fill", name):
            for start in range(0, len(ids), ROWS_AT_A_TIME):
                part = slice(start, start + ROWS_AT_A_TIME)
                values = zip(*(column[part] for column in columns), strict=True)
                batch = [dict(zip(spec.fields, row, strict=True)) for row in values]
                for row, vector in zip(batch, rows.vectors[part], strict=True):
                    row["vector"] = vector
                self._client.insert(name, batch)
            self._client.flush(name)
        self.load(name)

    def load(self, name: str) -> None:
        """Load a collection, so that it can be searched."""
        with self._explained("load", name):
            self._client.load_collection(name)

    def count(self, name: str) -> int:
        """Number of rows of a collection."""
        with self._explained("count", name):
            found = self._client.query(name, filter="", output_fields=["count(*)"])
        return int(found[0]["count(*)"])

    def search(
        self, name: str, spec: CollectionSpec, queries: np.ndarray, k: int, filters: Sequence[Filter] = ()
    ) -> list[list[StoredHit]]:
        """The `k` nearest rows to each of `queries [queries, dim]` among those that satisfy the filters."""
        hits: list[list[StoredHit]] = []
        for start in range(0, len(queries), QUERIES_AT_A_TIME):
            with self._explained("search", name):
                found = self._client.search(
                    name,
                    data=list(np.ascontiguousarray(queries[start : start + QUERIES_AT_A_TIME], np.float32)),
                    limit=k,
                    filter=expression(filters),
                    output_fields=[spec.key, "item_id"],
                    search_params={"metric_type": METRIC, "params": {"ef": max(128, 2 * k), "nprobe": 32}},
                    timeout=SEARCH_SECONDS,
                )
            hits += [
                [StoredHit(float(row["distance"]), row["entity"][spec.key], row["entity"]["item_id"]) for row in rows]
                for rows in found
            ]
        return hits

    def fetch(self, name: str, spec: CollectionSpec, ids: Sequence[str]) -> dict[str, np.ndarray]:
        """Vectors by key; a key that is not stored is left out."""
        vectors: dict[str, np.ndarray] = {}
        for start in range(0, len(ids), ROWS_AT_A_TIME):
            with self._explained("read", name):
                part = list(ids[start : start + ROWS_AT_A_TIME])
                rows = self._client.get(name, ids=part, output_fields=["vector"], timeout=SEARCH_SECONDS)
            vectors |= {row[spec.key]: np.asarray(row["vector"], np.float32) for row in rows}
        return vectors

    def fetch_all(self, name: str, spec: CollectionSpec) -> dict[str, np.ndarray]:
        """Vectors of all rows by key."""
        vectors: dict[str, np.ndarray] = {}
        with self._explained("read", name):
            rows = self._client.query_iterator(name, batch_size=ROWS_AT_A_TIME, output_fields=["vector"])
            while batch := rows.next():
                vectors |= {row[spec.key]: np.asarray(row["vector"], np.float32) for row in batch}
            rows.close()
        return vectors

    def read_all(self, name: str, spec: CollectionSpec) -> Rows:
        """All rows of a collection with all their fields."""
        fields: dict[str, list[Any]] = {field: [] for field in spec.fields}
        vectors = []
        with self._explained("read", name):
            rows = self._client.query_iterator(name, batch_size=ROWS_AT_A_TIME, output_fields=[*spec.fields, "vector"])
            while batch := rows.next():
                for row in batch:
                    vectors.append(np.asarray(row["vector"], np.float32))
                    for field, column in fields.items():
                        column.append(row[field])
            rows.close()
        return Rows(fields, np.stack(vectors))

    def point_alias(self, alias: str, name: str) -> None:
        """Let an alias name this collection from now on, in one step."""
        with self._explained("point an alias at", name):
            known = [each for each in self._client.list_collections() if alias in self.aliases(each)]
            if known:
                self._client.alter_alias(name, alias)
            else:
                self._client.create_alias(name, alias)

    def collections(self) -> list[str]:
        """Names of all collections."""
        with self._explained("list", "the collections"):
            return sorted(self._client.list_collections())

    def drop(self, name: str) -> None:
        """Remove a collection.

        Raises:
            UnimrError: an alias names it (Milvus Lite would remove it all the same).
        """
        with self._explained("drop", name):
            aliases = self.aliases(name)
            if aliases:
                raise UnimrError(f"The collection {name} is live as {', '.join(aliases)} and was not removed.")
            self._client.drop_collection(name)

    def aliases(self, name: str) -> list[str]:
        """Aliases that name a collection."""
        return list(self._client.list_aliases(name).get("aliases", []))

    @contextmanager
    def _explained(self, action: str, name: str) -> Iterator[None]:
        """Every failure of the libraries as a `UnimrError`."""
        from grpc import RpcError
        from pymilvus.client.types import Status
        from pymilvus.exceptions import MilvusException

        try:
            yield
        except RpcError as error:  # no answer in time: pymilvus passes it on as it is
            raise StoreUnavailableError(f"The index {self.uri} did not {action} {name} in time.") from error
        except MilvusException as error:
            if error.code == Status.CONNECT_FAILED:
                raise StoreUnavailableError(f"The index {self.uri} did not {action} {name}: {error.message}") from error
            raise UnimrError(
                f"The index {self.uri} could not {action} {name}: {error.message}. Run `dvc repro` to build it anew, "
                "or `unimr rollback` to return to the version before."
            ) from error


def _build_parameters(index_type: str, rows: int) -> dict[str, int]:
    if index_type == "HNSW":
        return {"M": 16, "efConstruction": 200}
    if index_type == "IVF_SQ8":
        return {"nlist": max(1, min(1024, rows // 39))}  # FAISS wants at least 39 rows a cell to train on
    return {}


def store_path(folder: Path) -> str:
    """URI of the embedded store inside a folder."""
    return str(folder / "milvus.db")
