from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from unimr.monitoring.permutation import Divided, MeanDifference, Mmd, ShareDifference, holm, p_values, rbf_kernel

REFERENCE = ["a", "a", "b", "c", "d", "d"]
WINDOW = ["e", "f", "f", "a"]  # a session of the same name is another one


def divided() -> Divided:
    return Divided.of(REFERENCE, WINDOW)


def every_division(sessions: int, inside: int) -> np.ndarray:
    rows = np.zeros((0, sessions), np.float32)
    for chosen in combinations(range(sessions), inside):
        row = np.zeros((1, sessions), np.float32)
        row[0, list(chosen)] = 1
        rows = np.concatenate([rows, row])
    return rows


def test_sessions_of_window_and_reference_are_told_apart():
    assert divided().code.tolist() == [0, 0, 1, 2, 3, 3, 4, 5, 5, 6]
    assert divided().current.tolist() == [False] * 4 + [True] * 3


def test_a_session_counts_once_by_the_mean_of_its_queries():
    values = np.array([1, 0, 0, 0, 0, 0, 1, 1, 0, 0], float)
    seen = MeanDifference(divided(), values)(divided().current[None].astype(np.float32))
    assert seen[0] == pytest.approx((1 + 0.5 + 0) / 3 - (0.5 + 0 + 0 + 0) / 4)


def test_values_that_are_no_numbers_are_left_out():
    values = np.array([1, np.nan, np.nan, 0, 0, 0, 1, np.inf, 1, np.nan], float)
    seen = MeanDifference(divided(), values)(divided().current[None].astype(np.float32))
    assert seen[0] == pytest.approx(1 - 1 / 3)  # e and f against a, c, d; b and the other a have nothing


def test_mmd_is_the_unbiased_estimate_over_sessions():
    vectors = np.random.default_rng(0).normal(size=(10, 3))
    kernel = rbf_kernel(vectors)
    code, current = divided().code, divided().current
    between = np.array([[kernel[np.ix_(code == s, code == t)].mean() for t in range(7)] for s in range(7)])
    inside = [between[s, t] for s in range(4, 7) for t in range(4, 7) if s != t]
    outside = [between[s, t] for s in range(4) for t in range(4) if s != t]
    across = between[4:, :4].mean()
    expected = np.mean(inside) + np.mean(outside) - 2 * across
    assert Mmd(divided(), vectors)(current[None].astype(np.float32))[0] == pytest.approx(expected, abs=1e-6)


def test_p_values_are_those_of_all_divisions():
    """With 7 sessions there are 35 divisions: drawn at random, their shares are found again."""
    rng = np.random.default_rng(1)
    values = rng.random(10)
    statistic = MeanDifference(divided(), values)
    all_values = statistic(every_division(7, 3))
    seen, p = p_values(divided(), [statistic], 20_000, 0, 0.01)
    exact = (all_values >= seen[0] - 1e-12).mean()
    assert p[0] == pytest.approx(exact, abs=0.03)  # stopped after 2,000: there is nothing to be clear about


def test_a_small_p_value_is_made_with_all_permutations():
    reference, window = [f"r{n}" for n in range(40)], [f"w{n}" for n in range(40)]
    sessions = Divided.of(reference, window)
    apart = MeanDifference(sessions, np.repeat([0.0, 1.0], 40))
    assert p_values(sessions, [apart], 9_999, 0, 0.01)[1][0] == pytest.approx(1 / 10_000)


def test_a_category_that_only_the_window_has_is_seen_among_many():
    rng = np.random.default_rng(2)
    categories = [f"c{n}" for n in rng.integers(15, size=300)]
    sessions = Divided.of([f"r{n}" for n in range(200)], [f"w{n}" for n in range(100)])
    usual = p_values(sessions, [ShareDifference(sessions, categories)], 1_999, 0, 0.01)[1][0]
    categories[290:] = ["new"] * 10
    new = p_values(sessions, [ShareDifference(sessions, categories)], 1_999, 0, 0.01)[1][0]
    assert usual > 0.05 and new < 0.002


def test_one_category_alone_is_no_difference():
    sessions = divided()
    assert p_values(sessions, [ShareDifference(sessions, ["en"] * 10)], 999, 0, 0.01)[1][0] == 1


def test_one_busy_client_is_no_change():
    """300 queries of one client, all the same: with queries as the unit it would be overwhelming."""
    rng = np.random.default_rng(3)
    reference, window = [f"r{n}" for n in range(200)], [f"w{n}" for n in range(100)] + ["busy"] * 300
    vectors = rng.normal(size=(600, 8))
    vectors[300:] = 5.0
    sessions = Divided.of(reference, window)
    rate = np.repeat([0.0, 1.0], 300)
    p = p_values(sessions, [Mmd(sessions, vectors), MeanDifference(sessions, rate)], 1_999, 0, 0.01)[1]
    assert p.min() > 0.2


def test_the_same_seed_gives_the_same_p_values():
    statistic = MeanDifference(divided(), np.arange(10.0))
    first, again = (p_values(divided(), [statistic], 999, 7, 0.01)[1][0] for _ in range(2))
    assert first == again


def test_holm_steps_down_until_one_does_not_pass():
    assert holm([0.01, 0.04, 0.03, 0.005], 0.05) == [True, False, False, True]
    assert holm([0.2, 0.001], 0.05) == [False, True]
    assert holm([], 0.05) == []
