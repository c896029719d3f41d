import math

import numpy as np
import pytest

from unimr.evaluation.intervals import resampled_means, summarise

MEAN = {"mean": lambda means: means[..., 0]}


def test_each_language_weighs_the_same_in_the_macro_mean():
    values = np.array([[1.0]] * 9 + [[0.0]])
    summary = summarise(values, ["de"] * 9 + ["fr"], MEAN, samples=50, seed=[1])["mean"]
    assert summary.macro.value == 0.5
    assert {lang: score.value for lang, score in summary.languages.items()} == {"de": 1.0, "fr": 0.0}
    assert (summary.macro.count, summary.languages["de"].count) == (10, 9)


def test_the_interval_is_that_of_the_normal_approximation():
    values = (np.arange(400) < 120).astype(float)[:, None]
    score = summarise(values, ["de"] * 400, MEAN, samples=4000, seed=[3])["mean"].macro
    error = 1.96 * math.sqrt(0.3 * 0.7 / 400)
    assert (score.low, score.high) == pytest.approx((0.3 - error, 0.3 + error), abs=0.006)


def test_intervals_cover_the_true_mean_about_as_often_as_they_say():
    rng = np.random.default_rng(5)
    hits = 0
    for number in range(200):
        values = rng.random((80, 1))
        score = summarise(values, ["de"] * 80, MEAN, samples=300, seed=[number])["mean"].macro
        hits += score.low <= 0.5 <= score.high
    assert 0.89 <= hits / 200 <= 0.99


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    values = np.random.default_rng(0).random((50, 1))
    first, again, other = (summarise(values, ["de"] * 50, MEAN, 200, [seed])["mean"].macro for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_without_draws_there_is_no_interval():
    assert math.isnan(summarise(np.ones((3, 1)), ["de"] * 3, MEAN, samples=0, seed=[0])["mean"].macro.low)


def test_draws_in_several_blocks_are_all_there(monkeypatch):
    monkeypatch.setattr("unimr.evaluation.intervals._DRAWN_AT_ONCE", 30)
    means = resampled_means(np.arange(10.0)[:, None], samples=100, rng=np.random.default_rng(0))
    assert means.shape == (100, 1)
    assert means.mean() == pytest.approx(4.5, abs=0.4)
