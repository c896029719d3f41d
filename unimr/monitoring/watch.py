"""Watching the traffic of the live version: one look at a window of the query log."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from unimr.errors import UnimrError
from unimr.files import read_json
from unimr.index.encoder import Encoder
from unimr.index.publish import history
from unimr.monitoring.agreement import jaccard, rank_biased_overlap
from unimr.monitoring.drift import CALIBRATION, Verdict, compare, separability, too_small
from unimr.monitoring.examples import example_queries
from unimr.monitoring.outcome import Canaries, Watch
from unimr.monitoring.reference import DAY_SECONDS, Canary, Reference, accept, reference_of, results_of
from unimr.monitoring.traffic import Traffic, read_window
from unimr.params import Params
from unimr.search.engine import SearchEngine, load_retriever
from unimr.service.querylog import place_of


def watch(
    params: Params,
    root: Path,
    load: Callable[[Path], Encoder] = load_retriever,
    now: float | None = None,
    take_over: bool = False,
) -> Watch:
    """Compare the last days of the query log with the reference of the live version.

    Whatever forbids it is a problem that the result names, not an exception.

    Args:
        params: the parameters.
        root: the project folder.
        load: gives the model in a folder.
        now: the end of the window, in seconds since the epoch; None asks the clock.
        take_over: make this window the reference afterwards.
    """
    now = time.time() if now is None else now
    checked = datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds")
    try:
        with SearchEngine.open(root, load) as engine:
            engine.hold_in_memory()
            return _Look(params, root, engine, checked, now).result(take_over)
    except UnimrError as error:
        return Watch("unsure", checked, params.monitor.drift.alpha, problems=[str(error)])


class _Look:
    """One look; holds what its steps share."""

    def __init__(self, params: Params, root: Path, engine: SearchEngine, checked: str, now: float) -> None:
        self.params, self.root, self.engine, self.checked = params.monitor, root, engine, checked
        self.reference = reference_of(params, root, engine)
        drift = params.monitor.drift
        since = max(now - drift.window_days * DAY_SECONDS, self.reference.notes.until)
        place = place_of(params.serve.query_log, root)
        self.window = read_window(place, engine, since, drift.max_queries, drift.max_queries_of_session)

    def result(self, take_over: bool) -> Watch:
        drift, reference, window = self.params.drift, self.reference.traffic, self.window.traffic
        canaries = asked_again(self.engine, self.reference, self._before())
        lost = self._lost(canaries)
        small_one = too_small(drift, window)
        problems = list(self.window.problems)
        if small_one and len(window):
            problems.append(f"Not enough data: {small_one}.")
        enough = not small_one
        found = compare(drift, reference, window) if enough else None
        auc, sure = None, np.zeros(len(window))
        if enough and window.vectors is not None:
            auc, sure = separability(reference, window, drift.seed)
        problems += _one_language(reference, window) if enough else []
        alarms = found.alarms if found else []
        verdict: Verdict = "drift" if alarms or lost else "unsure" if problems else "quiet"
        if take_over:
            self._take_over(small_one)
        return Watch(
            verdict=verdict,
            checked=self.checked,
            alpha=drift.alpha,
            version=self.engine.version,
            model=self.engine.model_version,
            problems=problems,
            notes=self.window.notes,
            reference={"source": self.reference.notes.source, **_counts(reference)},
            window={"from": _moment(self.window.first), "to": _moment(self.window.last), **_counts(window)},
            comparisons=found.rows if found else [],
            left_out=found.left_out if found else [],
            auc=auc,
            canaries=canaries,
            lost=lost,
            power=_power(self.root),
            examples=example_queries(self.engine.catalogue, alarms, reference, window, sure) if enough else [],
            samples=(reference, window) if enough else None,
        )

    def _before(self) -> Reference | None:
        """The reference of the version published before this one, if it still stands."""
        earlier = history(self.root)[:-1]
        return Reference.load(self.root, earlier[-1]) if earlier else None

    def _lost(self, canaries: Canaries) -> str:
        loss = canaries.recall_then - canaries.recall_now
        if loss <= self.params.max_labelled_recall_loss:
            return ""
        return (
            f"R@10 of the labelled canaries fell from {canaries.recall_then:.3f} to {canaries.recall_now:.3f} since "
            f"publishing, more than {self.params.max_labelled_recall_loss:g} "
            "(monitor.max_labelled_recall_loss)."
        )

    def _take_over(self, small_one: str) -> None:
        if small_one or self.window.traffic.vectors is None:
            why = small_one or "the query log keeps no texts"
            raise UnimrError(f"This window cannot become the reference: {why}.")
        accept(
            self.root, self.reference, self.window.traffic, f"{len(self.window.traffic):,} queries, accepted by hand"
        )


def asked_again(engine: SearchEngine, reference: Reference, before: Reference | None) -> Canaries:
    """Ask the labelled canaries of a reference anew."""
    asked = reference.canaries
    results = results_of(engine, [canary.text for canary in asked])
    return Canaries(
        count=len(asked),
        recall_then=_recall(asked, [canary.results for canary in asked]),
        recall_now=_recall(asked, results),
        jaccard=_mean([jaccard(canary.results, found) for canary, found in zip(asked, results, strict=True)]),
        **_against(before, asked, results),
    )


def _against(before: Reference | None, asked: Sequence[Canary], results: Sequence[list[str]]) -> dict[str, Any]:
    if before is None:
        return {}
    then = {(canary.lang, canary.text): canary.results for canary in before.canaries}
    pairs = [
        (then[canary.lang, canary.text], found)
        for canary, found in zip(asked, results, strict=True)
        if (canary.lang, canary.text) in then
    ]
    return {
        "before": before.notes.version,
        "common": len(pairs),
        "jaccard_before": _mean([jaccard(*pair) for pair in pairs]),
        "rbo_before": _mean([rank_biased_overlap(*pair) for pair in pairs]),
    }


def _recall(asked: Sequence[Canary], results: Sequence[Sequence[str]]) -> float:
    return _mean([float(canary.found(found)) for canary, found in zip(asked, results, strict=True)])


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else 1.0


def _one_language(reference: Traffic, window: Traffic) -> list[str]:
    known, seen = sorted(set(reference.rows["lang"])), sorted(set(window.rows["lang"]))
    if len(seen) > 1 or len(known) == 1:
        return []
    return [
        f"All queries are in one language ({seen[0]}), the reference has {len(known)}: either only a part of the "
        "traffic was logged, or it has changed."
    ]


def _power(root: Path) -> str:
    """How often a change is found, in a sentence; empty where nothing was calibrated."""
    if not (root / CALIBRATION).exists():
        return ""
    counts = read_json(root / CALIBRATION)
    found, of = counts["new-topic"]["alarms"], counts["new-topic"]["windows"]
    part = f"{counts['share_of_change']:.0%} of {counts['window_queries']:,} queries"
    return f"A new topic in {part} was found in {found} of {of} trials (unimr calibrate)."


def _counts(traffic: Traffic) -> dict[str, Any]:
    languages = traffic.rows["lang"].value_counts().to_dict()
    intents = traffic.rows["intent"].value_counts().to_dict()
    return {"queries": len(traffic), "sessions": traffic.sessions, "languages": languages, "intents": intents}


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="minutes")
