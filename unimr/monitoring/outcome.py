"""What a look at the traffic came to: its verdict in a sentence, and the figures behind it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from unimr.monitoring.drift import Comparison, Verdict
from unimr.monitoring.examples import Examples
from unimr.monitoring.traffic import Traffic

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
