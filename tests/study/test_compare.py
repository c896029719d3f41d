from __future__ import annotations

import math

import numpy as np
import pytest

from unimr.evaluation.measure import NLU
from unimr.study.compare import (
    Comparison,
    Estimate,
    bootstrap,
    compare_all,
    measures_of,
    p_value,
    widening,
    with_verdicts,
)
from unimr.study.result import Result


def first(means):
    return means[..., 0]


def result(values, languages=None, task="name_to_name") -> Result:
    columns = np.column_stack([values, values, values]).astype(float)
    return Result({task: columns}, {task: languages or ["en"] * len(values)}, {})


def draws(values, languages, seed=3):
    return bootstrap(np.asarray(values), languages, first, 4000, np.random.default_rng(seed))


def test_the_spread_of_queries_is_that_of_the_mean():
    values = np.random.default_rng(0).random((1, 400, 1))
    value, drawn = draws(values, ["en"] * 400)
    assert value == pytest.approx(values.mean())
    assert drawn.std() == pytest.approx(values.std() / math.sqrt(400), rel=0.1)


def test_the_spread_of_seeds_is_that_of_their_mean():
    seeds = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    value, drawn = draws(np.repeat(seeds[:, None, None], 50, axis=1), ["en"] * 50)
    assert value == pytest.approx(0.3)
    assert drawn.std() == pytest.approx(seeds.std(ddof=1) / math.sqrt(5), rel=0.1)  # the queries are all alike


def test_languages_weigh_the_same():
    values = np.array([[[1.0]] * 1 + [[0.0]] * 9])
    assert draws(values, ["de"] + ["en"] * 9)[0] == pytest.approx(0.5)


def test_the_same_change_of_every_query_has_no_spread_of_queries():
    values = np.random.default_rng(1).random((3, 60, 1))
    before, after = draws(values, ["en"] * 60), draws(values + 0.1, ["en"] * 60)
    assert np.allclose(after[1] - before[1], 0.1)


def test_pairs_show_what_two_unpaired_intervals_would_hide():
    rng = np.random.default_rng(2)
    base = rng.random((4, 200))
    better = base + 0.02 + 0.005 * rng.random((4, 200))
    found = compare_all({"unified": [result(v) for v in base], "no_nlu": [result(v) for v in better]}, 500)
    whole, paired = found[1].score, found[1].difference
    assert paired.low > 0.01 and found[1].verdict == "better"
    assert whole.low < found[0].score.value < whole.high


def test_no_difference_is_shown_where_seeds_disagree():
    rng = np.random.default_rng(4)
    base = rng.random((4, 200))
    other = base + np.array([0.1, -0.1, 0.08, -0.07])[:, None]
    found = compare_all({"unified": [result(v) for v in base], "no_nlu": [result(v) for v in other]}, 500)
    assert found[1].difference.low < 0 < found[1].difference.high
    assert found[1].verdict == "not shown"


def test_a_peer_of_one_language_is_compared_on_its_queries():
    languages = ["en", "de", "en", "de"]
    base = [result([1, 0, 1, 0], languages)] * 2
    found = compare_all({"unified": base, "minilm": [result([0, 0], ["en", "en"])]}, 100)
    assert found[0].score.value == pytest.approx(0.5)
    assert found[1].difference.value == pytest.approx(-1.0)


def test_a_task_that_a_variant_cannot_do_is_left_out():
    both = Result(
        {"name_to_name": np.ones((3, 3)), NLU: np.ones((3, 5))}, {"name_to_name": ["en"] * 3, NLU: ["en"] * 3}, {}
    )
    found = compare_all({"unified": [both], "nlu_only": [both], "text_only": [both]}, 100)
    assert {each.measure for each in found if each.name == "nlu_only"} == {"nlu.intent_accuracy", "nlu.slot_f1"}
    assert {each.measure for each in found if each.name == "text_only"} == {"name_to_name.mrr"}


def test_slot_f1_is_taken_of_the_means_of_each_seed():
    counts = np.array([[[1, 1, 1, 2, 1], [0, 0, 0, 0, 1]]] * 2, dtype=float)
    value, _ = bootstrap(counts, ["en", "en"], measures_of(NLU)["slot_f1"], 50, np.random.default_rng(0))
    assert value == pytest.approx(2 * 1 / (2 + 2))


def test_few_seeds_are_widened():
    assert widening(1) == 1 and widening(2) == pytest.approx(math.sqrt(2))


@pytest.mark.parametrize(("difference", "spread", "expected"), [(0.0, 1.0, 1.0), (1.96, 1.0, 0.05)])
def test_p_is_two_sided(difference, spread, expected):
    drawn = difference + spread * np.array([-1.0, 1.0])
    assert p_value(difference, drawn) == pytest.approx(expected, abs=1e-3)


def test_verdicts_are_corrected_for_their_number():
    """Holm: 0.01 <= 0.05 / 3 holds, 0.03 > 0.05 / 2 does not, and nothing after it does."""
    rows = [
        Comparison("no_nlu", f"t{p}.mrr", Estimate(0.5, 0.4, 0.6), (0.5,), 9, Estimate(sign * 0.1, 0, 0), p)
        for p, sign in ((0.03, 1), (0.01, -1), (0.04, 1))
    ]
    assert [each.verdict for each in with_verdicts(rows)] == ["not shown", "worse", "not shown"]
