from __future__ import annotations

import pytest

from unimr.monitoring.agreement import jaccard, rank_biased_overlap


def test_jaccard_of_known_lists():
    assert jaccard("abcd", "abef") == pytest.approx(2 / 6)
    assert jaccard([], []) == 1
    assert jaccard("a", []) == 0
    assert jaccard("abcdefghijX", "abcdefghijY") == 1  # only the first ten count


def test_rbo_of_known_lists():
    assert rank_biased_overlap("abc", "abc") == 1
    assert rank_biased_overlap("abc", "xyz") == 0
    assert rank_biased_overlap([], []) == 1
    assert rank_biased_overlap("ab", "ba") == pytest.approx(0.9 / 1.9)


def test_rbo_weighs_the_first_ranks_more():
    first, last = rank_biased_overlap("Xbcde", "abcde"), rank_biased_overlap("abcdX", "abcde")
    assert first < last
