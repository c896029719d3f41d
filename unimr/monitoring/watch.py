"""Watching the traffic of the live version: one look at a window of the query log, with its verdict in a sentence."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from unimr.errors import UnimrError
from unimr.files import read_json
from unimr.index.encoder import Encoder
from unimr.index.publish import history
from unimr.monitoring.agreement import jaccard, rank_biased_overlap
from unimr.monitoring.drift import CALIBRATION, Comparison, Verdict, compare, separability, too_small
from unimr.monitoring.examples import Examples, example_queries
from unimr.monitoring.reference import DAY_SECONDS, Canary, Reference, accept, reference_of, results_of
from unimr.monitoring.traffic import Traffic, read_window
from unimr.params import Params
from unimr.search.engine import SearchEngine, load_retriever
from unimr.service.querylog import place_of

REASONS = 3
"""Measures that a sentence names at most."""


@dataclass(frozen=True)
class Canaries:
    """Labelled queries asked anew: R@10 when the version was published and now, and how far the results agree.

    `before` is the version published before this one, with which the same queries are compared as well.
    """

    count: int
    recall_then: float
    recall_now: float
    jaccard: float
    before: str | None = None
    common: int = 0
    jaccard_before: float | None = None
    rbo_before: float | None = None


@dataclass(frozen=True)
class Watch:
    """What a look at the traffic came to.

    Attributes:
        verdict: `drift`, `quiet`, or `unsure` where it cannot be told, which is never the same as quiet.
        problems: why it cannot be told.
        reference, window: what was compared: sources, times, counts.
        comparisons: every measure, of all traffic and of single languages.
        left_out: languages that were too few to be compared alone.
        auc: how well a classifier tells window and reference apart (0.5: not at all).
        canaries: labelled queries asked anew.
        power: how often a change is found, from the calibration; empty where there was none.
        examples: queries that show what changed.
        samples: the traffic that was compared.
    """

    verdict: Verdict
    checked: str
    alpha: float
    version: str | None = None
    model: str | None = None
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    reference: dict[str, Any] = field(default_factory=dict)
    window: dict[str, Any] = field(default_factory=dict)
    comparisons: list[Comparison] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    auc: float | None = None
    canaries: Canaries | None = None
    lost: str = ""
    power: str = ""
    examples: list[Examples] = field(default_factory=list, repr=False)
    samples: tuple[Traffic, Traffic] | None = field(default=None, repr=False)

    @property
    def alarms(self) -> list[Comparison]:
        """Comparisons that count, the clearest first, those of all traffic before those of a language."""
        return sorted((row for row in self.comparisons if row.alarm), key=lambda row: (bool(row.lang), row.p))

    @property
    def reason(self) -> str:
        """What has changed, with figures; empty where nothing has."""
        rows = self.alarms
        more = f", and {len(rows) - REASONS} more" if len(rows) > REASONS else ""
        changed = "; ".join(described(row) for row in rows[:REASONS]) + more
        return " ".join(filter(None, [changed and f"The traffic has changed: {changed}.", self.lost]))

    @property
    def sentence(self) -> str:
        """Whether to act, why, and how sure that is."""
        why_not = " ".join(self.problems)
        if self.verdict == "drift":
            sure = ""
            if self.alarms:
                sure = f" Without a change, at most {self.alpha:.0%} of windows raise an alarm."
            return f"Act: {self.reason}{sure}" + (f" {why_not}" if why_not else "")
        if self.verdict == "quiet":
            asked = f"{self.window['queries']:,} queries in {self.window['sessions']:,} sessions"
            compared = f"Nothing to do: {asked} are like the reference in all {len(self.comparisons)} comparisons."
            return " ".join(filter(None, [compared, self.power]))
        compared = (
            f" No drift in the {len(self.comparisons)} comparisons that could be made." if self.comparisons else ""
        )
        return f"Not decided: {why_not}{compared}"

    def to_json(self) -> dict[str, Any]:
        """The look as plain JSON values, without pictures."""
        values = {name: value for name, value in vars(self).items() if name not in ("samples", "examples")}
        values["comparisons"] = [asdict(row) for row in self.comparisons]
        values["canaries"] = None if self.canaries is None else asdict(self.canaries)
        values["examples"] = [each.to_json() for each in self.examples]
        return values | {"sentence": self.sentence, "reason": self.reason}

    def to_markdown(self) -> str:
        """The look: first whether to act, then a row a comparison of all traffic."""
        rows = [
            f"| {row.label} | {shown(row, row.reference)} | {shown(row, row.window)} | {small(row.p)} "
            f"| {'**changed**' * row.alarm} |"
            for row in self.comparisons
            if not row.lang
        ]
        head = ["| measure | reference | window | p | |", "|---|---:|---:|---:|---|"]
        return "\n".join([f"**{self.sentence}**", "", *(head + rows if rows else []), "", f"Looked at {self.checked}."])

    def figures(self) -> dict[str, Any]:
        """The few numbers for `dvc metrics`."""
        rows = {row.measure: row for row in self.comparisons if not row.lang}
        return {
            "verdict": self.verdict,
            "drift": int(self.verdict == "drift"),
            "decided": int(self.verdict != "unsure"),
            "queries": self.window.get("queries", 0),
            "sessions": self.window.get("sessions", 0),
            "alarms": len(self.alarms),
            "auc": None if self.auc is None else round(self.auc, 4),
            "canary_recall_at_10": None if self.canaries is None else round(self.canaries.recall_now, 4),
            "p": {name: round(row.p, 5) for name, row in rows.items()},
            "window": {name: round(row.window, 4) for name, row in rows.items() if row.window is not None},
            "reference": {name: round(row.reference, 4) for name, row in rows.items() if row.reference is not None},
        }


def described(row: Comparison) -> str:
    """A comparison in words: what, from where to where, and how unlikely that is by chance."""
    where = f" ({row.lang})" if row.lang else ""
    values = ""
    if row.reference is not None and row.window is not None:
        values = f" {shown(row, row.reference)} → {shown(row, row.window)}"
    return f"{row.label}{where}{values} (p {small(row.p)})"


def shown(row: Comparison, value: float | None) -> str:
    """A value of a measure as people read it; nothing where the measure has none."""
    if value is None:
        return ""
    return f"{value:.3f}" if row.kind == "mean" else f"{value:.1%}"


def small(p: float) -> str:
    """A p-value as people read it."""
    return "< 0.0001" if p < 1e-4 else f"= {p:.4f}" if p < 0.1 else f"= {p:.2f}"


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
