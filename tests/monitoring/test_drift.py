from __future__ import annotations

import numpy as np
import pytest

from unimr.monitoring.drift import MEASURES, compare, separability, too_small
from unimr.monitoring.traffic import Traffic

from .made_up import LANGUAGES, drift_params, traffic


def alarmed(number: int, **change: float) -> bool:
    return bool(compare(drift_params(), traffic(number, 1_000), traffic(10_000 + number, 500, **change)).alarms)


def test_windows_without_a_change_raise_no_alarm():
    """At most 1 % may alarm; that 3 or more of 40 do has a chance below 1 in 100, and the seeds are fixed."""
    assert sum(alarmed(number) for number in range(40)) <= 2


@pytest.mark.slow
def test_a_thousand_windows_without_a_change_raise_at_most_twenty_alarms():
    assert sum(alarmed(number) for number in range(1_000)) <= 20


@pytest.mark.slow
@pytest.mark.parametrize("change", ["new_topic", "new_language"])
def test_a_tenth_of_new_topic_or_language_is_found_in_95_of_100_windows(change):
    assert sum(alarmed(number, **{change: 0.1}) for number in range(100)) >= 95


@pytest.mark.parametrize("change", ["new_topic", "new_language"])
def test_a_tenth_of_new_topic_or_language_is_found(change):
    assert sum(alarmed(number, **{change: 0.1}) for number in range(5)) >= 4


def test_an_alarm_names_what_changed():
    found = compare(drift_params(), traffic(1, 1_000), traffic(2, 500, new_language=0.2)).alarms
    assert found[0].measure == "languages"
    topic = compare(drift_params(), traffic(1, 1_000), traffic(2, 500, new_topic=0.3)).alarms
    assert {"embeddings", "unknown_words", "similarity", "answered_with"} <= {row.measure for row in topic}
    unknown = next(row for row in topic if row.measure == "unknown_words" and not row.lang)
    assert unknown.reference == pytest.approx(0.02, abs=0.02) and unknown.window == pytest.approx(0.22, abs=0.06)


def test_languages_are_compared_alone_where_they_are_large_enough():
    found = compare(drift_params(), traffic(1, 1_000), traffic(2, 500, new_language=0.02))
    assert {row.lang for row in found.rows} == {"", *LANGUAGES}
    assert found.left_out == ["xx"]
    per_language = [row.measure for row in found.rows if row.lang == "de"]
    assert per_language == [measure.name for measure in MEASURES if measure.name != "languages"]


def test_half_of_the_error_is_for_all_traffic_and_half_for_the_languages():
    """A p-value of 1 in 400 is below alpha, but not below alpha / 2 over the eleven measures."""
    params = drift_params(alpha=0.01, permutations=399)  # the field allows no fewer than 999 in params.yaml
    assert compare(params, traffic(1, 1_000), traffic(2, 500, new_language=0.3)).alarms == []


def test_without_texts_the_rest_is_compared():
    reference, window = traffic(1, 1_000), traffic(2, 500, new_language=0.2)
    found = compare(drift_params(), reference, Traffic(window.rows, None))
    measures = {row.measure for row in found.rows}
    assert measures.isdisjoint({"embeddings", "unknown_words", "unknown_ngrams"})
    assert found.alarms[0].measure == "languages"


def test_a_constant_or_missing_column_is_no_alarm_and_no_error():
    reference, window = traffic(1, 400), traffic(2, 300)
    for side in (reference, window):
        side.rows["margin"] = np.nan
        side.rows["similarity"] = np.nan
        side.rows["intent"] = "find_image"
    rows = {row.measure: row for row in compare(drift_params(), reference, window).rows if not row.lang}
    assert rows["margin"].p == rows["weak"].p == rows["intents"].p == 1
    assert rows["margin"].reference is None


def test_too_little_traffic_says_what_is_lacking():
    params = drift_params(min_queries=200, min_sessions=30)
    assert too_small(params, traffic(1, 120)) == "120 queries, 200 are needed (monitor.drift.min_queries)"
    busy = traffic(1, 300)
    busy.rows["session"] = "one"
    assert too_small(params, busy) == "1 sessions, 30 are needed (monitor.drift.min_sessions)"
    assert too_small(params, traffic(1, 300)) == ""


def test_separability_is_chance_without_a_change_and_points_at_what_is_new():
    auc, _ = separability(traffic(1, 800), traffic(2, 400), 0)
    assert auc == pytest.approx(0.5, abs=0.06)
    window = traffic(3, 400, new_topic=0.3)
    auc, sure = separability(traffic(1, 800), window, 0)
    assert auc > 0.58
    top = window.rows["answered_with"].iloc[np.argsort(-sure)[:20]]
    assert (top == "topic 12").mean() > 0.8
