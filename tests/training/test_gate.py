from __future__ import annotations

import pytest

from unimr.errors import UnimrError
from unimr.files import write_json
from unimr.training.gate import check_retained


@pytest.fixture
def models(tmp_path):
    write_json(tmp_path / "train_text" / "metrics.json", {"name_to_name_mrr": 0.5})
    write_json(tmp_path / "train_nlu" / "metrics.json", {"intent_accuracy": 0.9, "slot_f1": 0.8})
    return tmp_path


def after(mrr=0.5, intent=0.9, slots=0.8):
    return {"name_to_name_mrr": mrr, "intent_accuracy": intent, "slot_f1": slots}


def test_what_is_as_good_or_better_passes(models):
    check_retained(models, after(), 0.0)
    check_retained(models, after(mrr=0.9, slots=0.85), 0.02)


def test_a_loss_within_the_margin_passes(models):
    check_retained(models, after(mrr=0.485, intent=0.885), 0.02)


def test_a_loss_beyond_the_margin_is_refused_and_named(models):
    with pytest.raises(UnimrError, match=r"slot_f1 fell from 0\.800 to 0\.770.*regression_margin = 0\.02") as error:
        check_retained(models, after(slots=0.77), 0.02)
    assert "intent_accuracy" not in str(error.value)


def test_every_lost_measure_is_named(models):
    with pytest.raises(UnimrError, match=r"intent_accuracy fell from 0\.900 to 0\.100; name_to_name_mrr fell"):
        check_retained(models, after(mrr=0.1, intent=0.1), 0.02)


def test_gains_elsewhere_do_not_make_up_for_a_loss(models):
    with pytest.raises(UnimrError, match="name_to_name_mrr"):
        check_retained(models, after(mrr=0.4, intent=1.0, slots=1.0), 0.02)


def test_a_table_without_queries_has_nothing_to_compare(models):
    write_json(models / "train_text" / "metrics.json", {})
    check_retained(models, {"intent_accuracy": 0.9, "slot_f1": 0.8}, 0.0)


def test_missing_metrics_of_an_earlier_stage_are_an_error(tmp_path):
    with pytest.raises(UnimrError, match=r"metrics\.json does not exist"):
        check_retained(tmp_path, after(), 0.02)
