from __future__ import annotations

import pytest

from unimr.search.fusion import Ranking, fuse


def test_agreement_of_two_sides_wins_over_one_first_place():
    fused = fuse([
        Ranking("images", 1.0, [("a", "a1"), ("b", "b1"), ("c", "c1")]),
        Ranking("texts", 1.0, [("d", "d1"), ("b", "b2"), ("c", "c2")]),
    ])  # fmt: skip
    assert [item.item_id for item in fused] == ["b", "c", "a", "d"]
    assert fused[0].rows == {"images": "b1", "texts": "b2"}
    assert fused[0].score == pytest.approx(2 / 62)


def test_several_rows_of_an_item_count_once_with_the_best():
    fused = fuse([Ranking("images", 2.0, [("a", "a1"), ("a", "a2"), ("b", "b1")])])
    assert [(item.item_id, item.score) for item in fused] == [("a", 2 / 61), ("b", 2 / 62)]
    assert fused[0].rows == {"images": "a1"}


def test_weights_decide():
    fused = fuse([Ranking("images", 0.1, [("a", "x")]), Ranking("texts", 1.0, [("b", "y")])])
    assert [item.item_id for item in fused] == ["b", "a"]
