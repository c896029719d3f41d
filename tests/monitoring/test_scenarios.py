from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from unimr.errors import UnimrError
from unimr.monitoring.scenarios import MAX_LENGTH, SCENARIOS, Pool, noisy, play, sessions, topic_queries


@pytest.fixture(scope="module")
def pool(watched_root) -> Pool:
    return Pool.load(watched_root / "data/validated")


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_scenario_has_as_many_queries_as_wanted_and_is_the_same_for_the_same_seed(pool, scenario):
    first, again, other = (play(scenario, pool, 200, 0.1, seed) for seed in (1, 1, 2))
    assert first == again != other
    assert len(first) == 200


@pytest.mark.parametrize(
    ("scenario", "mark"),
    [("new-language", "foreign"), ("new-topic", "topic"), ("noise", "noisy"), ("seasonal", "season")],
)
def test_a_share_of_the_queries_is_other_than_usual(pool, scenario, mark):
    asked = play(scenario, pool, 200, 0.2, 0)
    assert sum(each.session.startswith(mark) for each in asked) == 40


def test_queries_of_a_session_are_together_and_of_one_language(pool):
    asked = play("none", pool, 400, 0.0, 0)
    names = [each.session for each in asked]
    changes = sum(one != other for one, other in pairwise(names))
    assert changes == len(set(names)) - 1
    assert max(Counter(names).values()) <= MAX_LENGTH
    assert all(len({each.lang for each in asked if each.session == name}) == 1 for name in names[:50])


def test_one_client_of_the_chatty_scenario_sends_two_fifths(pool):
    assert Counter(each.session for each in play("chatty-client", pool, 300, 0.1, 0)).most_common(1) == [
        ("chatty", 120)
    ]


def test_a_new_language_is_one_that_was_never_trained(pool):
    asked = play("new-language", pool, 100, 0.5, 0)
    assert {each.lang for each in asked if each.session.startswith("foreign")} == {"sw"}


def test_an_unknown_scenario_names_those_there_are(pool):
    with pytest.raises(UnimrError, match="There are: none, new-language"):
        play("storm", pool, 10, 0.1, 0)


def test_without_an_untrained_language_there_is_no_new_one(pool):
    with pytest.raises(UnimrError, match=r"prepare\.untrained_languages"):
        play("new-language", Pool(pool.known, pool.untrained.iloc[:0]), 10, 0.5, 0)


def test_noise_changes_letters_and_keeps_something():
    text = "a picture of a smiling cat"
    assert noisy(text) == noisy(text) != text
    assert noisy("x")


def test_the_topic_has_every_name_in_every_language():
    queries = topic_queries()
    assert queries.groupby("lang").size().nunique() == 1
    assert queries["text"].str.len().min() > 2


def test_sessions_draw_every_task_alike(pool):
    asked = sessions(pool.known, 2_000, np.random.default_rng(0))
    assert len(asked) == 2_000
    share = Counter(each.lang for each in asked)["ja"] / 2_000
    assert share == pytest.approx(1 / 3, abs=0.08)
