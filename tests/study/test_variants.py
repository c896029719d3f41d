from __future__ import annotations

from pathlib import Path

import pytest

from unimr.config import load_params
from unimr.errors import UnimrError
from unimr.study.variants import ALL, PEERS, STAGES, VARIANTS, budget_of, spent, variant_params
from unimr.training.joint_task import COMPOSED_BATCH

PROJECT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("profile", ["study", "photos", "study_catalogue", "study_photos"])
def test_every_variant_spends_its_budget(name, profile):
    params = variant_params(PROJECT, profile, name, 3)
    budget = VARIANTS[name].budgets * budget_of(load_params(PROJECT, {"profile": profile}))
    assert spent(params) == pytest.approx(budget, rel=0.02)
    assert {getattr(params, stage).seed for stage in STAGES} == {3}


def test_pictures_that_only_their_captions_teach_are_counted():
    photos = load_params(PROJECT, {"profile": "photos"})
    assert not photos.train_joint.image_weight
    assert spent(photos) > spent(load_params(PROJECT, {"profile": "photos", "train_joint.caption_weight": 0.0}))


def test_what_a_photograph_has_one_of_is_counted_once():
    once, twice = (
        spent(load_params(PROJECT, {"profile": "photos", "train_joint.steps": 1, "study.renderings": each}))
        for each in (1, 2)
    )
    joint = load_params(PROJECT, {"profile": "photos"}).train_joint
    composed = 2 * COMPOSED_BATCH  # pictures and words, where items have variants
    assert twice - once == joint.image_batch_size * (1 + joint.captions) + composed


def test_only_the_long_one_spends_more_than_one_budget():
    assert {name: each.budgets for name, each in ALL.items() if each.budgets != 1} == {"unified_long": 3}


def test_unified_is_the_profile_itself():
    params, base = variant_params(PROJECT, "study", "unified", 0), load_params(PROJECT, {"profile": "study"})
    for stage in STAGES[:3]:
        assert getattr(params, stage) == getattr(base, stage)
    assert params.model == base.model


def test_what_is_left_out_gives_its_budget_to_the_stages_that_stay():
    whole, without = (variant_params(PROJECT, "study", name, 0) for name in ("unified", "no_stage_1"))
    assert without.train_text.steps == 0
    assert without.train_nlu.steps / whole.train_nlu.steps == pytest.approx(
        without.train_image.steps / whole.train_image.steps, rel=0.03
    )
    assert without.train_nlu.steps > whole.train_nlu.steps


def test_commands_are_left_out_where_neither_intents_nor_slots_are_learned():
    commands, asking = (variant_params(PROJECT, profile, "text_only", 0) for profile in ("study_photos", "study"))
    assert commands.train_joint.nlu_batch_size == 0 and asking.train_joint.nlu_batch_size > 0
    assert variant_params(PROJECT, "study_photos", "no_fusion", 0).train_joint.nlu_batch_size > 0


def test_only_what_trains_a_part_can_be_asked_for_it():
    assert set(VARIANTS["image_only"].tasks) & set(VARIANTS["text_only"].tasks) == set()
    asked = {task for name in ("image_only", "text_only", "nlu_only") for task in VARIANTS[name].tasks}
    assert asked == set(VARIANTS["unified"].tasks)


def test_params_name_every_variant_and_peer():
    study = load_params(PROJECT).study
    assert (study.variants, study.peers) == (list(VARIANTS), list(PEERS))


def test_a_variant_that_is_none_is_named():
    with pytest.raises(UnimrError, match=rf"no variant 'half' in the study\. Variants and peers: {', '.join(ALL)}"):
        variant_params(PROJECT, "study", "half", 0)
