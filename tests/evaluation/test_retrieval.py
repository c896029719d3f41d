import numpy as np
import pytest

from unimr.evaluation.retrieval import mrr, query_values, random_values, ranks, recall_at_k

SCORES = np.array([[0.9, 0.8, 0.1], [0.2, 0.3, 0.4], [0.5, 0.1, 0.3]], dtype=np.float32)
RELEVANT = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 1]], dtype=bool)


def test_ranks_mrr_and_recall_of_a_case_done_by_hand():
    rank = ranks(SCORES, RELEVANT)
    assert rank.tolist() == [1, 3, 2]
    assert mrr(rank) == pytest.approx((1 + 1 / 3 + 1 / 2) / 3)
    assert recall_at_k(rank, 1) == pytest.approx(1 / 3)
    assert recall_at_k(rank, 2) == pytest.approx(2 / 3)


def test_of_several_relevant_entries_the_best_ranked_counts():
    assert ranks(np.array([[0.1, 0.9, 0.8]]), np.array([[True, False, True]])).tolist() == [2]


def test_a_tie_is_lost_whatever_the_order():
    tied = np.zeros((2, 4))
    assert ranks(tied, np.eye(4, dtype=bool)[[0, 3]]).tolist() == [4, 4]


def test_relevant_entries_that_tie_do_not_hurt_each_other():
    assert ranks(np.zeros((1, 3)), np.array([[True, True, False]])).tolist() == [2]


@pytest.mark.parametrize(
    ("scores", "relevance", "word"),
    [
        (SCORES, RELEVANT[:2], "shape"),
        (np.full((1, 2), np.nan), np.array([[True, False]]), "NaN"),
        (np.zeros((1, 2)), np.zeros((1, 2), dtype=bool), "no relevant"),
    ],
)
def test_what_cannot_be_ranked_is_refused(scores, relevance, word):
    with pytest.raises(ValueError, match=word):
        ranks(scores, relevance)


def test_query_values_average_to_the_metrics():
    rank = np.array([1, 3, 2, 11])
    assert query_values(rank).mean(axis=0) == pytest.approx([mrr(rank), recall_at_k(rank, 1), recall_at_k(rank, 10)])


@pytest.mark.parametrize("relevant", [1, 3])
def test_chance_equals_the_mean_over_many_random_orders(relevant):
    rng = np.random.default_rng(0)
    relevance = np.zeros((40_000, 25), dtype=bool)
    relevance[:, :relevant] = True
    drawn = query_values(ranks(rng.random(relevance.shape), relevance)).mean(axis=0)
    assert random_values(25, relevant) == pytest.approx(drawn, abs=0.01)


def test_chance_with_one_relevant_entry_is_k_over_n():
    assert random_values(100, 1)[1:] == pytest.approx([0.01, 0.10])
