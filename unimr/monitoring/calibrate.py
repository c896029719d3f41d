"""How far the verdict can be trusted: counts of alarms over many made-up windows, with and without a change.

The queries of the test are answered once; windows and references are drawn from them. `metrics/drift_calibration.json`
has the counts, `plots/drift_power.csv` the power curve, `docs/pictures/drift-power.png` its picture.
"""

from __future__ import annotations

import csv
import io
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unimr.files import write_json, write_text
from unimr.index.embed import TABLES
from unimr.monitoring.drift import CALIBRATION, compare
from unimr.monitoring.power_plot import write_power_plot
from unimr.monitoring.scenarios import Asked, Pool, noisy, play, sessions, topic_queries
from unimr.monitoring.traffic import Traffic, answered
from unimr.params import DriftParams, Params
from unimr.search.engine import SearchEngine, load_retriever

log = logging.getLogger(__name__)

POWER = Path("plots/drift_power.csv")
PICTURE = Path("docs/pictures/drift-power.png")
REFERENCE, WINDOW, SHARE = 1_000, 500, 0.1
"""Queries of the reference and of a window, and the share that is other than usual."""
CHANGES = ("new-topic", "new-language", "noise", "seasonal", "chatty-client")
COMPARED = ("none", "new-topic", "new-language")
"""Scenarios on which Evidently's presets are run too."""
CURVE_SCENARIOS = ("new-topic", "new-language")
CURVE_SHARES = (0.02, 0.05, 0.1, 0.2)
CURVE_WINDOWS = (250, 500, 1_000)
QUERIES_OF_LANGUAGE = 200
"""Of each untrained language, that are answered."""


@dataclass(frozen=True)
class Bench:
    """The queries of the test and their answers, by their words."""

    pool: Pool
    answers: Traffic
    place: dict[str, int]

    @classmethod
    def make(cls, engine: SearchEngine, tables: Path) -> Bench:
        """Answer every query that a scenario may draw."""
        pool = Pool.load(tables)
        untrained = pool.untrained.groupby("lang").head(QUERIES_OF_LANGUAGE).reset_index(drop=True)
        texts = [*pool.known["text"], *untrained["text"], *topic_queries()["text"]]
        texts += [noisy(text) for text in pool.known["text"]]
        distinct = list(dict.fromkeys(texts))
        answers = answered(engine, distinct, distinct)
        return cls(Pool(pool.known, untrained), answers, {text: row for row, text in enumerate(answers.rows["text"])})

    def traffic(self, asked: Sequence[Asked]) -> Traffic:
        """The answers to these queries, in these sessions."""
        places = [self.place[each.text] for each in asked]
        rows = self.answers.rows.iloc[places].assign(session=[each.session for each in asked]).reset_index(drop=True)
        return Traffic(rows, None if self.answers.vectors is None else self.answers.vectors[places])

    def reference(self, seed: int, queries: int = REFERENCE) -> Traffic:
        """A reference of usual traffic."""
        return self.traffic(sessions(self.pool.known, queries, np.random.default_rng([seed, 1]), "reference"))

    def window(self, scenario: str, seed: int, queries: int = WINDOW, share: float = SHARE) -> Traffic:
        """A window of a scenario."""
        return self.traffic(play(scenario, self.pool, queries, share, seed))


def alarms_of(params: DriftParams, reference: Traffic, window: Traffic) -> list[str]:
    """The measures of all traffic that alarm, and `by language` where only single languages do."""
    rows = compare(params, reference, window).alarms
    return [row.measure for row in rows if not row.lang] or ["by language"] * bool(rows)


def count(
    scenario: str, params: DriftParams, bench: Bench, windows: int, *,
    queries: int = WINDOW, share: float = SHARE, fixed: Traffic | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Windows of a scenario, those with an alarm, and which measures raised it.

    Each is compared with a reference of its own, or all with a `fixed` one and then other windows than those.
    """
    alarmed, by_measure = 0, Counter[str]()
    for number in range(windows):
        seed = number if fixed is None else windows + number
        reference = bench.reference(number) if fixed is None else fixed
        found = alarms_of(params, reference, bench.window(scenario, seed, queries, share))
        alarmed += bool(found)
        by_measure.update(found)
    told = {"windows": windows, "alarms": alarmed, "by_measure": dict(sorted(by_measure.items()))}
    log.info("%s, %d queries, share %g: %s", scenario, queries, share, told)
    return told


def calibrate(params: Params, root: Path, windows: int, trials: int) -> dict[str, Any]:
    """Run everything and write it down; the parameters of the detector are those of `monitor.drift`.

    Args:
        params: the parameters.
        root: the project folder, with a published index and its tables.
        windows: without a change.
        trials: of each change; a quarter of them for Evidently, a tenth at each point of the power curve.
    """
    drift = params.monitor.drift
    with SearchEngine.open(root, load_retriever) as engine:
        engine.hold_in_memory()
        bench = Bench.make(engine, root / TABLES)
        counts: dict[str, Any] = {"version": engine.version, "model": engine.model_version, "alpha": drift.alpha}
    counts |= {"reference_queries": REFERENCE, "window_queries": WINDOW, "share_of_change": SHARE}
    fixed = bench.reference(0, drift.reference_queries)
    counts["none"] = count("none", drift, bench, windows)
    counts["none_one_reference"] = count("none", drift, bench, windows, fixed=fixed)
    for name in CHANGES:
        counts[name] = count(name, drift, bench, trials)
    write_json(root / CALIBRATION, counts)
    counts["evidently"] = {name: presets(name, bench, max(1, trials // 4)) for name in COMPARED}
    write_json(root / CALIBRATION, counts)
    rows = list(power(drift, bench, max(1, trials // 10)))
    write_text(root / POWER, _csv(rows))
    write_power_plot(root / PICTURE, rows)
    return counts


def presets(scenario: str, bench: Bench, trials: int) -> dict[str, int]:
    """In how many of the same windows Evidently's presets alarm."""
    from unimr.monitoring.report import preset_alarms  # Evidently takes seconds to import

    found = Counter[str]()
    for number in range(trials):
        found.update(preset_alarms(bench.reference(number), bench.window(scenario, number)))
    return {"windows": trials, **found}


def power(params: DriftParams, bench: Bench, trials: int) -> Iterator[dict[str, Any]]:
    """The points of the power curve: `scenario, share, queries, trials, found, found_by_mmd`."""
    for scenario in CURVE_SCENARIOS:
        for queries in CURVE_WINDOWS:
            for share in CURVE_SHARES:
                told = count(scenario, params, bench, trials, queries=queries, share=share)
                point = {"scenario": scenario, "share": share, "queries": queries, "trials": trials}
                yield point | {"found": told["alarms"], "found_by_mmd": told["by_measure"].get("embeddings", 0)}


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
