"""Traffic: what was asked and how it was answered, a row a query, from the query log or from asking an engine."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from unimr.data.splits import hash_share
from unimr.data.text import MAX_QUERY_CHARACTERS, forms, lexical_terms, normalise
from unimr.errors import UnimrError
from unimr.files import atomic_file
from unimr.search.engine import SearchEngine
from unimr.search.query import Query
from unimr.service.logstore import read_log

log = logging.getLogger(__name__)

COLUMNS = (
    "session", "text", "lang", "intent", "confidence", "similarity", "margin", "zero_results",
    "unknown_ngrams", "unknown_words", "answered_with", "results",
)  # fmt: skip
QUERIES_AT_A_TIME = 64
MAX_UNSOUND = 0.01
"""Share of answers without a score above which a log is not believed. A few are sound: found by words alone."""
NGRAM = 3
"""Characters; words are marked at both ends, so that short ones have some too."""
SUBJECT = "subject"


@dataclass(frozen=True)
class Traffic:
    """Queries of one index version.

    Attributes:
        rows: a query a row; columns `COLUMNS`. `unknown_ngrams` is the share of a text's character 3-grams that no word
            of the index has, `unknown_words` the share of the subject's words that the index lacks (NaN without a
            subject), `answered_with` the category of the first result. `similarity` and `margin` are NaN where nothing
            was searched by vector.
        vectors: embeddings of the texts `[queries, dim]`; None where the log has hashes in the place of texts.
    """

    rows: pd.DataFrame
    vectors: np.ndarray | None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def sessions(self) -> int:
        """How many sessions there are."""
        return int(self.rows["session"].nunique())

    def where(self, mask: np.ndarray) -> Traffic:
        """The queries that a boolean mask names."""
        return Traffic(self.rows[mask].reset_index(drop=True), None if self.vectors is None else self.vectors[mask])

    def save(self, path: Path) -> None:
        """Write it as Parquet."""
        columns: dict[str, Any] = {name: self.rows[name].tolist() for name in COLUMNS}
        columns["vector"] = [None] * len(self) if self.vectors is None else list(self.vectors)
        with atomic_file(path) as temporary:
            pq.write_table(pa.table(columns), temporary, compression="zstd")

    @classmethod
    def load(cls, path: Path) -> Traffic:
        """Read what `save` wrote.

        Raises:
            UnimrError: it is missing or damaged.
        """
        try:
            table = pq.read_table(path)
            rows = table.select(list(COLUMNS)).to_pandas()
            vectors = np.array(table["vector"].to_pylist(), np.float32)
        except (OSError, KeyError, ValueError, pa.ArrowException) as error:
            raise UnimrError(f"{path} cannot be read ({error}). Remove its folder and run `unimr monitor`.") from error
        rows["results"] = [list(found) for found in rows["results"]]
        return cls(rows, vectors if vectors.ndim == 2 and len(vectors) == len(rows) else None)


@dataclass(frozen=True)
class Window:
    """The part of the query log that is measured, and what was left out of it and why.

    `problems` are what forbids to call the window free of drift; `notes` only say what was done.
    """

    traffic: Traffic
    first: float | None = None
    last: float | None = None
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class Reader:
    """Makes rows of answers of an engine, given or logged."""

    def __init__(self, engine: SearchEngine) -> None:
        self._items = engine.catalogue.items
        self._words = engine.lexical.vocabulary
        self._ngrams = {gram for term in self._words for form in forms(term) for gram in ngrams(form)}

    def row(
        self, session: str, text: str | None, about: tuple[str, str, float], scores: Sequence[float | None],
        subjects: Sequence[str], results: Sequence[str],
    ) -> tuple[Any, ...]:  # fmt: skip
        """A row of `COLUMNS`.

        Args:
            session: its session.
            text: the words, None where they are not kept.
            about: language, intent, confidence.
            scores: similarity and margin of the best answer.
            subjects: the words of the subject slots.
            results: items, best first.
        """
        numbers = [math.nan if value is None else float(value) for value in scores]
        unknown = (math.nan, math.nan) if text is None else (self._unknown_ngrams(text), self._unknown_words(subjects))
        return (session, text or "", *about, *numbers, not results, *unknown, self._category(results), list(results))

    def _unknown_ngrams(self, text: str) -> float:
        found = [gram for form in forms(text) for gram in ngrams(form)]
        return sum(gram not in self._ngrams for gram in found) / len(found) if found else 0.0

    def _unknown_words(self, subjects: Sequence[str]) -> float:
        words = [word for subject in subjects for word in lexical_terms(subject)]
        return sum(word not in self._words for word in words) / len(words) if words else math.nan

    def _category(self, results: Sequence[str]) -> str:
        if not results:
            return "nothing"
        item = self._items.get(results[0])  # a live change may have removed it since
        return str(item["attributes"].get("category", "")) if item else ""


@lru_cache(maxsize=100_000)
def ngrams(word: str) -> tuple[str, ...]:
    """Character 3-grams of a word with its ends marked."""
    marked = f"<{word}>"
    return tuple(marked[start : start + NGRAM] for start in range(max(1, len(marked) - NGRAM + 1)))


def answered(engine: SearchEngine, sessions: Sequence[str], texts: Sequence[str]) -> Traffic:
    """Ask an engine and keep what the query log would; texts that it refuses are left out."""
    rows, vectors, reader = [], [], Reader(engine)
    for start in range(0, len(texts), QUERIES_AT_A_TIME):
        part = [text[:MAX_QUERY_CHARACTERS] for text in texts[start : start + QUERIES_AT_A_TIME]]
        of_part = engine.model.encode_texts(part)
        for place, answer in enumerate(engine.search_many([Query(text) for text in part])):
            if isinstance(answer, UnimrError):
                log.warning("Left out of the reference: %s", answer)
                continue
            about = (answer.lang, answer.intent, answer.confidence)
            subjects = [slot.text for slot in answer.slots if slot.label == SUBJECT]
            scores = (answer.similarity, answer.margin)
            results = [hit.item_id for hit in answer.hits]
            rows.append(reader.row(sessions[start + place], part[place], about, scores, subjects, results))
            vectors.append(of_part[place])
    stacked = np.stack(vectors) if vectors else np.zeros((0, engine.model.dim), np.float32)
    return Traffic(pd.DataFrame(rows, columns=list(COLUMNS)), stacked)


def read_window(
    place: Path | str, engine: SearchEngine, since: float, max_queries: int, max_per_session: int
) -> Window:
    """The queries of words that the live version has answered since a moment, bounded in number by whole sessions.

    Raises:
        UnimrError: the log is damaged.
    """
    if not _exists(place):
        return Window(_empty(), problems=[f"There is no query log {place} yet: nothing was asked, or it is not kept."])
    entries = list(read_log(place, since))
    if not entries:
        return Window(_empty(), problems=["No query was logged in this time."])
    notes: list[str] = []
    problems: list[str] = []
    words = [entry for entry in entries if entry["kind"] == "text"]
    if len(words) < len(entries):
        notes.append(f"{len(entries) - len(words):,} queries with a picture were left out.")
    live = [entry for entry in words if entry["index_version"] == engine.version]
    if len(live) < len(words):
        others = sorted({str(entry["index_version"]) for entry in words} - {engine.version})
        said = f"{len(words) - len(live):,} queries were answered by other versions ({', '.join(others[:3])})"
        (notes if live else problems).append(f"{said} and are not compared with the reference of {engine.version}.")
    alone = sum(entry["session"] is None for entry in live)
    if alone:
        notes.append(f"{alone:,} queries came without X-Session; each counts as a session of its own.")
    sound = [entry for entry in live if not _is_unsound(entry)]
    if len(sound) < len(live):
        said = f"{len(live) - len(sound):,} of {len(live):,} answers have a score that is no number"
        if len(sound) < (1 - MAX_UNSOUND) * len(live):
            problems.append(f"{said}: the model or the log is damaged. Look at what `unimr search` answers.")
        else:
            notes.append(f"{said} and were left out.")
    if not sound:
        return Window(_empty(), notes=notes, problems=problems or ["No query of words was logged in this time."])
    kept = bounded([_session(entry) for entry in sound], max_queries, max_per_session)
    if len(kept) < len(sound):
        notes.append(f"{len(kept):,} of {len(sound):,} queries are measured, at most {max_per_session} of a session.")
    chosen = [sound[number] for number in kept]
    traffic = _of_entries(chosen, engine)
    if traffic.vectors is None:
        problems.append(
            "The query log keeps hashes in the place of texts (serve.query_log.store_text): what was asked for cannot "
            "be compared, only languages, intents and scores."
        )
    return Window(traffic, chosen[0]["asked_at"], chosen[-1]["asked_at"], notes, problems)


def text_entries(place: Path | str, since: float) -> list[dict[str, Any]]:
    """The logged queries of words since a moment, of any version, whose text was kept.

    Raises:
        UnimrError: the log is damaged.
    """
    entries = read_log(place, since) if _exists(place) else ()
    return [entry for entry in entries if entry["kind"] == "text" and entry["text"]]


def _exists(place: Path | str) -> bool:
    """Whether there is a log; a database has one as soon as it is asked."""
    return isinstance(place, str) or place.exists()


def bounded(sessions: Sequence[str], max_queries: int, max_per_session: int) -> list[int]:
    """Places of the queries to keep: the first ones of as many sessions as there is room for, drawn by their names."""
    places: dict[str, list[int]] = {}
    for place, session in enumerate(sessions):
        places.setdefault(session, []).append(place)
    kept: list[int] = []
    for session in sorted(places, key=lambda name: hash_share("session", name)):
        if len(kept) >= max_queries:
            break
        kept += places[session][:max_per_session]
    return sorted(kept)


def _of_entries(entries: Sequence[dict[str, Any]], engine: SearchEngine) -> Traffic:
    reader = Reader(engine)
    texts = [entry["text"] for entry in entries]
    readable = all(text is not None for text in texts)
    rows = [
        reader.row(
            _session(entry),
            entry["text"] if readable else None,
            (entry["lang"], entry["intent"], entry["confidence"]),
            (entry["similarity"], entry["margin"]),
            [slot["text"] for slot in entry["slots"] if slot["label"] == SUBJECT] if readable else [],
            entry["results"],
        )
        for entry in entries
    ]
    vectors = encode_once(texts, engine.model.encode_texts) if readable else None
    return Traffic(pd.DataFrame(rows, columns=list(COLUMNS)), vectors)


def encode_once(texts: Sequence[str], encode: Callable[[Sequence[str]], np.ndarray]) -> np.ndarray:
    """Embeddings `[texts, dim]`; texts that are the same after normalising are encoded once."""
    distinct: dict[str, str] = {}
    for text in texts:
        distinct.setdefault(normalise(text), text)
    place = {form: number for number, form in enumerate(distinct)}
    vectors: np.ndarray = encode(list(distinct.values()))[[place[normalise(text)] for text in texts]]
    return vectors


def _session(entry: dict[str, Any]) -> str:
    return entry["session"] or f"query {entry['id']}"


def _is_unsound(entry: dict[str, Any]) -> bool:
    """Something was found, but its scores are no numbers (SQLite keeps NaN as NULL)."""
    scores = [entry["similarity"], *entry["scores"]]
    return bool(entry["results"]) and any(score is None or not math.isfinite(score) for score in scores)


def _empty() -> Traffic:
    return Traffic(pd.DataFrame(columns=list(COLUMNS)), None)
