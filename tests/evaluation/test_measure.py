import numpy as np
import pytest

from unimr.errors import UnimrError
from unimr.evaluation.measure import Options, evaluate_model
from unimr.evaluation.scoring import Encoder, leading


def test_scores_of_the_small_catalogue(model, tables):
    found = evaluate_model(model, tables)
    assert found["name_to_name"]["mrr_by_language"] == {"de": 1.0, "fr": 0.25}
    assert found["name_to_name"]["mrr"] == 0.625
    assert found["name_to_name"]["n"] == 3
    assert found["name_to_image_trained"]["recall_at_1"] == 1.0
    assert found["intent_to_item"]["left_out"] == 1
    assert found["nlu"]["intent_accuracy"] == 1.0
    assert found["nlu"]["slot_f1"] == pytest.approx(2 / 3, abs=1e-4)  # two of three spans, three claimed


def test_without_draws_no_interval_is_claimed(model, tables):
    assert "mrr_low" not in evaluate_model(model, tables)["name_to_name"]
    assert "mrr_low" in evaluate_model(model, tables, Options(samples=20))["name_to_name"]


def test_the_picture_of_a_composed_query_is_no_answer(model, tables):
    found = evaluate_model(model, tables, Options(baselines=True))["composed_to_image"]
    assert found["picture_alone"]["mrr"] == pytest.approx((1 + 1 / 2) / 2)


def test_text_baselines_are_measured_and_pictures_have_only_chance(model, tables):
    found = evaluate_model(model, tables, Options(baselines=True))
    assert {"tfidf", "bm25", "random"} <= set(found["name_to_name"])
    assert "tfidf" not in found["name_to_image_trained"]
    assert found["name_to_name"]["random"]["recall_at_1"] == 0.25


def test_every_text_and_picture_is_encoded_once(model, tables):
    evaluate_model(model, tables, Options(baselines=True, leading_dims=(4,)))
    assert len(model.encoded) == len(set(model.encoded))
    assert model.pictures == len(tables.images)


def test_only_what_is_asked_for_is_measured(model, tables):
    assert set(evaluate_model(model, tables, Options(only=("nlu",)))) == {"nlu"}
    assert set(evaluate_model(model, tables, Options(only=("name_to_name",)))) == {"name_to_name"}


def test_a_limit_keeps_so_many_queries_a_language(model, tables):
    assert evaluate_model(model, tables, Options(limit_per_language=1))["name_to_name"]["n"] == 2


def test_vectors_that_are_not_finite_are_an_error(model, tables):
    model.encode_texts = lambda texts: np.full((len(texts), 8), np.nan)
    with pytest.raises(UnimrError, match="not finite"):
        evaluate_model(model, tables)


def test_leading_dimensions_have_unit_length_again():
    assert np.linalg.norm(leading(np.array([[0.6, 0.0, 0.8]]), 2), axis=1) == pytest.approx([1.0])


def test_texts_go_to_the_model_by_length_and_come_back_in_their_own_order(model):
    vectors = Encoder(model, {}).texts(["a red one of many", "blue", "a red one of many", "my green"])
    assert model.encoded == ["blue", "my green", "a red one of many"]
    assert vectors.argmax(axis=1).tolist() == [0, 2, 0, 1]
