from __future__ import annotations

import json
from itertools import islice

import pytest
from PIL import Image

from unimr.monitoring.calibrate import Bench, count, power
from unimr.monitoring.power_plot import write_power_plot
from unimr.search.engine import SearchEngine

from ..index.small_index import PROJECT, word_encoder
from .conftest import small_params

DRIFT = small_params(permutations=4_999).monitor.drift


@pytest.fixture(scope="module")
def bench(watched_root) -> Bench:
    with SearchEngine.open(watched_root, word_encoder) as engine:
        engine.hold_in_memory()
        return Bench.make(engine, watched_root / "data/validated")


def test_windows_are_drawn_from_answers_that_are_made_once(bench):
    window = bench.window("new-topic", 3, 200, 0.2)
    assert len(window) == 200 and window.vectors.shape == (200, 48)
    assert window.rows["session"].str.startswith("topic").sum() == 40
    assert bench.window("new-topic", 3, 200, 0.2).rows.equals(window.rows)
    assert not bench.window("new-topic", 4, 200, 0.2).rows.equals(window.rows)


def test_alarms_are_counted_with_what_raised_them(bench):
    found = count("new-topic", DRIFT, bench, 3, queries=300, share=0.5)
    assert (found["windows"], found["alarms"]) == (3, 3)
    assert found["by_measure"]["unknown_ngrams"] == 3
    assert count("none", DRIFT, bench, 3, queries=300)["alarms"] == 0


def test_with_one_reference_the_windows_are_others(bench):
    assert count("none", DRIFT, bench, 3, queries=300, fixed=bench.reference(0))["windows"] == 3


def test_the_power_curve_has_points_and_a_picture(bench, tmp_path):
    rows = list(islice(power(DRIFT, bench, 1), 2))
    assert [(row["scenario"], row["queries"], row["trials"]) for row in rows] == [("new-topic", 250, 1)] * 2
    write_power_plot(tmp_path / "power.png", rows)
    assert Image.open(tmp_path / "power.png").width > 200


def test_the_committed_calibration_holds_what_was_promised():
    counts = json.loads((PROJECT / "metrics/drift_calibration.json").read_text(encoding="utf-8"))
    assert counts["alpha"] == 0.01
    assert counts["none"]["windows"] == 1_000 and counts["none"]["alarms"] <= 20
    for change in ("new-topic", "new-language"):
        assert counts[change]["windows"] == 100 and counts[change]["alarms"] >= 95
