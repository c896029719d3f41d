"""The query log: what was asked and answered, in SQLite, for measuring drift.

A search hands its entry to a bounded queue and goes on; one thread writes what waits, a transaction at a time. Where
the queue is full or the disk fails, entries are dropped and counted: the log never delays a search and never fails it.
Entries older than the retention are deleted at the start and every hour. Where the text may not be kept, the log has
a keyed hash of it (HMAC-SHA-256 of the normalised text), which tells equal queries and nothing more; its key lies in a
file of its own beside the log.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import queue
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from unimr.config import QueryLogParams
from unimr.data.text import normalise
from unimr.errors import UnimrError
from unimr.search.answer import SearchAnswer

log = logging.getLogger(__name__)

ENTRIES_AT_A_TIME = 500
PRUNE_SECONDS = 3600
DAY_SECONDS = 86_400
CLOSE_SECONDS = 3.0
_LISTS = ("slots", "filters", "results", "scores")


@dataclass(frozen=True)
class Entry:
    """One answered query. Times are in seconds since 1970 and milliseconds; lists stand as JSON in the file."""

    asked_at: float
    kind: str
    text: str | None
    text_hash: str | None
    lang: str
    intent: str
    confidence: float
    slots: list[dict[str, Any]]
    filters: list[str]
    results: list[str]
    scores: list[float]
    similarity: float | None
    margin: float | None
    latency_ms: float
    model: str
    index_version: str
    session: str | None


_COLUMNS = [field.name for field in fields(Entry)]
_CREATE = f"CREATE TABLE IF NOT EXISTS queries (id INTEGER PRIMARY KEY, {', '.join(_COLUMNS)})"
_INSERT = f"INSERT INTO queries ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"


class QueryLog:
    """An open log; `written` and `dropped` are told how many entries were.

    Raises:
        UnimrError: the file cannot be opened.
    """

    def __init__(
        self,
        params: QueryLogParams,
        root: Path,
        written: Callable[[int], object],
        dropped: Callable[[int], object],
    ) -> None:
        self._params, self._written, self._dropped = params, written, dropped
        self._path = root / params.file
        self._waiting: queue.Queue[Entry | None] = queue.Queue(params.max_waiting)
        self._key = None if params.store_text else _hash_key(self._path.with_suffix(".key"))
        self._pruned = 0.0
        with closing(_connect(self._path)):
            pass
        self._writer = threading.Thread(target=self._write_all, name="query-log", daemon=True)
        self._writer.start()

    def add(self, answer: SearchAnswer, kind: str, latency_ms: float, session: str | None) -> None:
        """Log an answer; never waits. `kind` is text, image or image+text."""
        kept = answer.query if self._key is None else None
        hashed = keyed_hash(answer.query, self._key) if self._key is not None and answer.query else None
        entry = Entry(
            asked_at=time.time(),
            kind=kind,
            text=kept,
            text_hash=hashed,
            lang=answer.lang,
            intent=answer.intent,
            confidence=round(answer.confidence, 4),
            slots=[_slot(slot.label, slot.text, slot.value, with_text=self._key is None) for slot in answer.slots],
            filters=answer.filters,
            results=[hit.item_id for hit in answer.hits],
            scores=[hit.score for hit in answer.hits],
            similarity=answer.similarity,
            margin=answer.margin,
            latency_ms=round(latency_ms, 2),
            model=answer.model_version,
            index_version=answer.index_version,
            session=session,
        )
        try:
            self._waiting.put_nowait(entry)
        except queue.Full:
            self._dropped(1)

    def close(self) -> None:
        """Write what waits, for a few seconds at most."""
        try:
            self._waiting.put(None, timeout=CLOSE_SECONDS)
        except queue.Full:
            log.error("The query log %s is too slow: what still waits is lost", self._path)
            return
        self._writer.join(CLOSE_SECONDS)

    def _write_all(self) -> None:
        self._write([])  # prunes
        more = True
        while more:
            batch, more = self._batch()
            self._write(batch)

    def _write(self, batch: list[Entry]) -> None:
        try:
            with closing(_connect(self._path)) as connection, connection:
                connection.executemany(_INSERT, [_row(entry) for entry in batch])
                self._prune(connection)
            self._written(len(batch))
        except (sqlite3.Error, OSError, UnimrError) as error:
            log.error("The query log %s lost %d entries: %s", self._path, len(batch), error)
            self._dropped(len(batch))

    def _batch(self) -> tuple[list[Entry], bool]:
        """What waits, nothing after an hour without any; and whether more may come."""
        batch: list[Entry] = []
        while len(batch) < ENTRIES_AT_A_TIME:
            try:
                entry = self._waiting.get(block=not batch, timeout=PRUNE_SECONDS)
            except queue.Empty:
                break
            if entry is None:
                return batch, False
            batch.append(entry)
        return batch, True

    def _prune(self, connection: sqlite3.Connection) -> None:
        if time.time() - self._pruned >= PRUNE_SECONDS:
            oldest = time.time() - self._params.retention_days * DAY_SECONDS
            connection.execute("DELETE FROM queries WHERE asked_at < ?", (oldest,))
            self._pruned = time.time()


def read_log(path: Path, since: float = 0.0) -> Iterator[dict[str, Any]]:
    """The entries of a log from a moment on, oldest first.

    Raises:
        UnimrError: there is no log, or it is damaged.
    """
    if not path.exists():
        raise UnimrError(f"There is no query log {path}. `unimr serve` writes one as queries come.")
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            for row in connection.execute("SELECT * FROM queries WHERE asked_at >= ? ORDER BY id", (since,)):
                yield {name: json.loads(row[name]) if name in _LISTS else row[name] for name in row.keys()}  # noqa: SIM118
    except (sqlite3.Error, ValueError) as error:
        raise UnimrError(f"The query log {path} cannot be read ({error}). Move it away; a new one is begun.") from error


def keyed_hash(text: str, key: bytes) -> str:
    """HMAC-SHA-256 of the normalised text, in hexadecimal."""
    return hmac.new(key, normalise(text).encode(), hashlib.sha256).hexdigest()


def _slot(label: str, text: str, value: str | None, with_text: bool) -> dict[str, Any]:
    if with_text:
        return {"label": label, "text": text, "value": value}
    return {"label": label, "value": None if label == "subject" else value}


def _row(entry: Entry) -> list[Any]:
    values = asdict(entry)
    return [json.dumps(values[name], ensure_ascii=False) if name in _LISTS else values[name] for name in _COLUMNS]


def _connect(path: Path) -> sqlite3.Connection:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=5.0)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA secure_delete=ON")  # what the retention deletes is overwritten too
        connection.execute(_CREATE)
    except (sqlite3.Error, OSError) as error:
        raise UnimrError(
            f"The query log {path} cannot be opened ({error}). Move the file away, or name another one in "
            "serve.query_log.file of params.yaml."
        ) from error
    return connection


def _hash_key(path: Path) -> bytes:
    """The key of the hashes: read, or made where there is none; for this user alone."""
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(secrets.token_bytes(32))
        return path.read_bytes()
    except OSError as error:
        raise UnimrError(f"The key of the query log, {path}, cannot be read or made ({error}).") from error
