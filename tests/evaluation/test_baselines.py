import math

import pytest

from unimr.evaluation.baselines import Bm25Index, TfidfIndex

GALLERY = ["red apple", "green apple pie", "blue whale"]


def test_bm25_of_a_word_follows_the_formula():
    scores = Bm25Index(GALLERY).scores(["whale"])[0]
    idf = math.log(1 + (3 - 1 + 0.5) / (1 + 0.5))
    expected = idf * 2.2 / (1 + 1.2 * (0.25 + 0.75 * 2 / (7 / 3)))
    assert scores == pytest.approx([0, 0, expected], rel=1e-5)


def test_bm25_prefers_the_shorter_of_two_texts_with_the_word():
    scores = Bm25Index(GALLERY).scores(["apple"])[0]
    assert scores[0] > scores[1] > scores[2] == 0


def test_bm25_finds_words_in_scripts_without_spaces():
    scores = Bm25Index(["红色的苹果", "蓝色的鲸鱼"]).scores(["鲸鱼"])[0]
    assert scores[1] > scores[0] == 0


def test_tfidf_finds_a_word_by_a_part_of_it_and_itself_best():
    index = TfidfIndex(GALLERY)
    assert index.scores(["WHALES"])[0].argmax() == 2
    assert index.scores(GALLERY).diagonal() == pytest.approx([1, 1, 1], abs=1e-5)
