"""The reference of a published version: the traffic that a window is compared with, and labelled canaries.

`published/references/<version>/`. For the first version it is made of test queries. A later version takes over the
traffic of the last days, if it answers that as well as what its forerunner was measured on; else it answers the
forerunner's reference anew. So the window after a retraining is quiet if the model has learned what was new, and is
not if it has not.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from unimr.data.splits import hash_share
from unimr.data.tables import read_table
from unimr.errors import UnimrError
from unimr.files import atomic_folder, read_json, write_json
from unimr.index.embed import TABLES, data_hash
from unimr.index.publish import MANIFEST, PUBLISHED, history, versions, versions_folder
from unimr.monitoring.drift import compare, too_small
from unimr.monitoring.scenarios import TASKS, Pool, sessions
from unimr.monitoring.traffic import QUERIES_AT_A_TIME, Traffic, answered, bounded, text_entries
from unimr.params import DriftParams, Params
from unimr.search.answer import SearchAnswer
from unimr.search.engine import SearchEngine
from unimr.search.query import Query
from unimr.service.querylog import place_of

log = logging.getLogger(__name__)

REFERENCES = PUBLISHED / "references"
TRAFFIC, CANARIES, NOTES = "traffic.parquet", "canaries.json", "manifest.json"
LABELLED_CANARIES = 256
DEPTH = 10
ANSWERED_WELL = ("similarity", "weak", "zero_results", "unknown_words")
"""Measures that say how well traffic is answered."""
DAY_SECONDS = 86_400


@dataclass(frozen=True)
class Canary:
    """A labelled query, and what the version found for it when the reference was made."""

    query_id: str
    text: str
    lang: str
    relevant: list[str]
    results: list[str]

    def found(self, results: Sequence[str]) -> bool:
        """Whether a relevant item is among these results."""
        return bool(set(self.relevant) & set(results))


@dataclass(frozen=True)
class Notes:
    """Of which version and model it is, what it was made of, and the moment from which a window may begin."""

    version: str
    model: str
    source: str
    from_log: bool
    until: float


@dataclass(frozen=True)
class Reference:
    """The reference of a version."""

    notes: Notes
    traffic: Traffic
    canaries: list[Canary]

    def save(self, root: Path) -> None:
        """Write it beside the versions, and remove those of versions that no longer stand."""
        with atomic_folder(root / REFERENCES / self.notes.version) as folder:
            self.traffic.save(folder / TRAFFIC)
            write_json(folder / CANARIES, [asdict(canary) for canary in self.canaries])
            write_json(folder / NOTES, asdict(self.notes))
        standing = {self.notes.version, *versions(root)}
        for left in (root / REFERENCES).iterdir():
            if left.name not in standing:
                shutil.rmtree(left)

    @classmethod
    def load(cls, root: Path, version: str) -> Reference | None:
        """That of a version; None where it has none.

        Raises:
            UnimrError: it is damaged, or that of another version.
        """
        folder = root / REFERENCES / version
        if not (folder / NOTES).exists():
            return None
        again = f"Remove {folder} and run `unimr monitor`."
        try:
            notes = Notes(**read_json(folder / NOTES))
            canaries = [Canary(**each) for each in read_json(folder / CANARIES)]
        except TypeError as error:
            raise UnimrError(f"The reference in {folder} is damaged ({error}). {again}") from error
        if notes.version != version:
            raise UnimrError(f"The reference in {folder} is that of version {notes.version}, not of {version}. {again}")
        return cls(notes, Traffic.load(folder / TRAFFIC), canaries)


def reference_of(params: Params, root: Path, engine: SearchEngine) -> Reference:
    """The reference of the version that an engine searches; made where it has none.

    Raises:
        UnimrError: it is damaged or of another model, or there are no tables to make it of.
    """
    found = Reference.load(root, engine.version)
    if found is None:
        found = make_reference(params, root, engine)
        found.save(root)
        log.info("The reference of version %s: %s", engine.version, found.notes.source)
    if found.notes.model != engine.model_version:
        raise UnimrError(
            f"The reference of version {engine.version} is of model {found.notes.model}, the version has "
            f"{engine.model_version}. Remove {root / REFERENCES / engine.version} and run `unimr monitor`."
        )
    return found


def make_reference(params: Params, root: Path, engine: SearchEngine) -> Reference:
    """Make the reference of a version, see the head of this file.

    Raises:
        UnimrError: the version was made from other tables than those that are there.
    """
    of_version = read_json(versions_folder(root) / engine.version / MANIFEST)["data_hash"]
    if data_hash(root / TABLES) != of_version:
        raise UnimrError(
            f"Version {engine.version} has no reference, and {TABLES} holds other tables than it was made from. "
            "Run `dvc repro`, so that data and index match."
        )
    source, traffic, from_log = _reference_traffic(params, root, engine)
    notes = Notes(engine.version, engine.model_version, source, from_log, time.time() if from_log else 0.0)
    return Reference(notes, traffic, labelled_canaries(root, engine))


def accept(root: Path, reference: Reference, window: Traffic, source: str) -> None:
    """Take a window as the reference from now on: somebody has looked at it and found it as it should be."""
    notes = Notes(reference.notes.version, reference.notes.model, source, from_log=True, until=time.time())
    Reference(notes, window, reference.canaries).save(root)


def _reference_traffic(params: Params, root: Path, engine: SearchEngine) -> tuple[str, Traffic, bool]:
    """Source, traffic, and whether it is of the query log."""
    former = next(filter(None, (Reference.load(root, version) for version in reversed(history(root)[:-1]))), None)
    recent = _recent(params, root, engine) if former else None
    if former and recent is not None and not too_small(params.monitor.drift, recent):
        before = _again(engine, former.traffic)
        worse = answered_worse(params.monitor.drift, before, recent)
        today = f"{datetime.now(UTC):%d %B %Y}"
        if not worse:
            return f"{len(recent):,} queries of the query log up to {today}", recent, True
        log.warning("The traffic of the last days is not taken as the reference: %s", worse)
        return f"{former.notes.source}, answered anew", before, former.notes.from_log
    if former and former.notes.from_log:
        return f"{former.notes.source}, answered anew", _again(engine, former.traffic), True
    drift = params.monitor.drift
    pool = Pool.load(root / TABLES)
    asked = sessions(pool.known, drift.reference_queries, np.random.default_rng(drift.seed), "reference")
    traffic = answered(engine, [each.session for each in asked], [each.text for each in asked])
    return f"{len(traffic):,} test queries", traffic, False


def answered_worse(params: DriftParams, before: Traffic, now: Traffic) -> str:
    """In what `now` is answered worse than `before`, by the same version; empty where it is not."""
    found = [row for row in compare(params, before, now).alarms if row.measure in ANSWERED_WELL and not row.lang]
    worse = [row for row in found if ((row.window or 0) < (row.reference or 0)) == (row.measure == "similarity")]
    return ", ".join(f"{row.label} {row.reference:.3f} → {row.window:.3f}" for row in worse)


def _recent(params: Params, root: Path, engine: SearchEngine) -> Traffic | None:
    """The texts of the last days, whichever version answered them then, answered by this one."""
    drift = params.monitor.drift
    entries = text_entries(place_of(params.serve.query_log, root), time.time() - drift.window_days * DAY_SECONDS)
    if not entries:
        return None
    names = [entry["session"] or f"query {entry['id']}" for entry in entries]
    kept = bounded(names, drift.max_queries, drift.max_queries_of_session)
    return answered(engine, [names[place] for place in kept], [entries[place]["text"] for place in kept])


def _again(engine: SearchEngine, traffic: Traffic) -> Traffic:
    return answered(engine, traffic.rows["session"].tolist(), traffic.rows["text"].tolist())


def labelled_canaries(root: Path, engine: SearchEngine) -> list[Canary]:
    """Test queries with their relevant items, drawn by a hash of their words, so that most stay from data to data."""
    queries = read_table(root / TABLES, "queries", ["query_id", "task", "lang", "text"])
    queries = queries[queries["task"].isin(TASKS)].drop_duplicates(["lang", "text"])
    drawn = sorted(queries.itertuples(), key=lambda row: hash_share("canary", row.lang, row.text))[:LABELLED_CANARIES]
    relevant: pd.Series = read_table(root / TABLES, "qrels").groupby("query_id")["item_id"].agg(list)
    texts = [str(row.text) for row in drawn]
    return [
        Canary(str(row.query_id), str(row.text), str(row.lang), list(relevant[row.query_id]), results)
        for row, results in zip(drawn, results_of(engine, texts), strict=True)
    ]


def results_of(engine: SearchEngine, texts: Sequence[str]) -> list[list[str]]:
    """The first ten items that an engine finds for each text; nothing where it refuses one.

    The same texts in the same order are answered in the same batches, and so to the last bit alike.
    """
    answers: list[SearchAnswer | UnimrError] = []
    for start in range(0, len(texts), QUERIES_AT_A_TIME):
        part = texts[start : start + QUERIES_AT_A_TIME]
        answers += engine.search_many([Query(text, k=DEPTH) for text in part])
    return [[] if isinstance(answer, UnimrError) else [hit.item_id for hit in answer.hits] for answer in answers]
