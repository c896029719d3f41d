"""The query log: what was asked and answered, in SQLite or Postgres, for measuring drift.

A search hands its entry to a bounded queue and goes on; one thread writes what waits, a transaction at a time. Where
the queue is full, or the database fails and goes on failing, entries are dropped and counted: the log never delays a
search and never fails it.
Entries older than the retention are deleted at the start and every hour. Where the text may not be kept, the log has
a keyed hash of it (HMAC-SHA-256 of the normalised text), which tells equal queries and nothing more; its key lies in a
file of its own beside the log.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import queue
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from unimr.data.text import normalise
from unimr.errors import UnimrError
from unimr.params import QueryLogParams
from unimr.search.answer import SearchAnswer
from unimr.service.logstore import LogStore

log = logging.getLogger(__name__)

ENTRIES_AT_A_TIME = 500
PRUNE_SECONDS = 3600
DAY_SECONDS = 86_400
CLOSE_SECONDS = 3.0
PAUSES = (0.0, 0.5, 2.0, 5.0)
"""Seconds before each try to write a batch; after the last one its entries are dropped."""
GATHER_SECONDS = 0.1
"""How long the writer lets entries gather: a transaction each would take its time from the searches."""


@dataclass(frozen=True)
class Entry:
    """One answered query. Times are in seconds since 1970 and milliseconds."""

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


class QueryLog:
    """An open log; `written` and `dropped` are told how many entries were.

    Raises:
        UnimrError: the database cannot be opened.
    """

    def __init__(
        self,
        params: QueryLogParams,
        root: Path,
        written: Callable[[int], object],
        dropped: Callable[[int], object],
    ) -> None:
        self._params, self._written, self._dropped = params, written, dropped
        self._waiting: queue.Queue[Entry | None] = queue.Queue(params.max_waiting)
        self._key = None if params.store_text else _hash_key((root / params.file).with_suffix(".key"))
        self._closing = threading.Event()
        self._store = LogStore(place_of(params, root))
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
        self._closing.set()
        try:
            self._waiting.put(None, timeout=CLOSE_SECONDS)
        except queue.Full:
            log.error("The query log %s is too slow: what still waits is lost", self._store.name)
            return
        self._writer.join(CLOSE_SECONDS)

    def _write_all(self) -> None:
        self._write([])  # what became too old since the last time
        more = True
        while more:
            batch, more = self._batch()
            self._write(batch)
        self._store.close()

    def _write(self, batch: list[Entry]) -> None:
        oldest = time.time() - self._params.retention_days * DAY_SECONDS
        for pause in PAUSES:
            self._closing.wait(pause)
            try:
                self._store.write([asdict(entry) for entry in batch], oldest)
                self._written(len(batch))
                return
            except UnimrError as error:
                log.error("%s", error)
            if self._closing.is_set():
                break
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
            if not batch:
                self._closing.wait(GATHER_SECONDS)
            batch.append(entry)
        return batch, True


def place_of(params: QueryLogParams, root: Path) -> Path | str:
    """Where the log of a project is: the file of SQLite, or the URL of Postgres."""
    return params.url or root / params.file


def keyed_hash(text: str, key: bytes) -> str:
    """HMAC-SHA-256 of the normalised text, in hexadecimal."""
    return hmac.new(key, normalise(text).encode(), hashlib.sha256).hexdigest()


def _slot(label: str, text: str, value: str | None, with_text: bool) -> dict[str, Any]:
    if with_text:
        return {"label": label, "text": text, "value": value}
    return {"label": label, "value": None if label == "subject" else value}


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
