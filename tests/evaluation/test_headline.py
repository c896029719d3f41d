import dataclasses

import pytest

from unimr.evaluation.headline import _verdict, headline, retained
from unimr.evaluation.measure import Options, measure, picture_bytes
from unimr.evaluation.scoring import Encoder


@pytest.fixture
def rows(model, tables):
    evaluation = measure(Encoder(model, picture_bytes(tables)), tables, Options(baselines=True))
    return {row.measure: row for row in headline(evaluation)}


def test_targets_are_met_missed_or_not_measured(rows):
    assert rows["name_to_name.mrr"].verdict == "met"
    assert rows["nlu.slot_f1"].verdict == "missed"
    assert rows["untrained_name_to_name.mrr"].verdict == "not measured"


def test_exactly_the_target_is_met_and_a_hair_less_is_missed(rows):
    row = rows["name_to_name.mrr"]
    assert _verdict(dataclasses.replace(row, reach=row.score.value)) == "met"
    assert _verdict(dataclasses.replace(row, reach=row.score.value + 1e-9)) == "missed"


def test_what_must_be_beaten_is_not_met_by_a_draw(rows):
    row = rows["composed_to_image.recall_at_10"]
    draw = {"picture_alone": row.score.value, "words_alone": 0.0}
    assert _verdict(dataclasses.replace(row, baselines=draw)) == "missed"
    assert _verdict(dataclasses.replace(row, baselines={**draw, "picture_alone": row.score.value - 0.01})) == "met"


def test_retained_compares_what_both_know():
    metrics = {"name_to_name": {"mrr": 0.48}, "nlu": {"intent_accuracy": 0.9}}
    found = retained(metrics, {"train_text": {"name_to_name_mrr": 0.5}, "train_nlu": {"slot_f1": 0.8}})
    assert found == {"name_to_name_mrr": {"before": 0.5, "after": 0.48, "change": -0.02}}
