from __future__ import annotations

import shutil

import numpy as np
import pytest

from unimr.config import load_params
from unimr.errors import UnimrError
from unimr.files import read_json, write_json
from unimr.model.manifest import verify_manifest
from unimr.model.retriever import UnifiedRetriever
from unimr.training.stages import run_train_joint, run_train_nlu, run_train_text

from .small_project import TRAINING


@pytest.fixture
def done(trained, tmp_path):
    """A copy of the trained project, to change."""
    return shutil.copytree(trained, tmp_path / "project")


def test_every_stage_leaves_a_whole_folder_and_no_checkpoints(trained):
    for stage in TRAINING:
        notes = verify_manifest(trained / "models" / stage)["notes"]
        assert notes["profile"] == "tiny"
        assert set(notes) == {"profile", "languages", "tables", "torch"}
    assert not list((trained / ".work").glob("*/*"))
    assert not list(trained.rglob("*.tmp-*"))


def test_metrics_of_the_stages_that_are_measured(trained):
    text, nlu, joint = (read_json(trained / "metrics" / f"{stage}.json") for stage in TRAINING[1:])
    assert set(text) == {"name_to_name_mrr"}
    assert set(nlu) == {"intent_accuracy", "slot_f1"}
    assert joint.keys() == text.keys() | nlu.keys()
    assert joint == read_json(trained / "models" / "train_joint" / "metrics.json")


def test_the_last_stage_saves_a_model_that_loads(trained):
    model = UnifiedRetriever.load(trained / "models" / "train_joint")
    vectors = model.encode_texts(["red cat", "голубая кошка", "赤い猫"])
    assert vectors.shape == (3, 32)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_a_stage_without_the_one_before_says_what_to_run(project):
    with pytest.raises(UnimrError, match=r"no model in .*train_image .*Run `dvc repro`"):
        run_train_text(load_params(project), project)


def test_an_earlier_stage_of_another_size_is_named(done):
    params = load_params(done)
    other = params.model_copy(update={"model": params.model.model_copy(update={"dim": 16, "matryoshka_dims": [16]})})
    with pytest.raises(UnimrError, match=r"The part `text_encoder` in .*train_text does not fit"):
        run_train_nlu(other, done)


def test_joint_training_that_unlearned_too_much_saves_nothing(done):
    write_json(done / "models" / "train_text" / "metrics.json", {"name_to_name_mrr": 2.5})
    shutil.rmtree(done / "models" / "train_joint")
    manifest = read_json(done / "models" / "train_text" / "manifest.json")
    manifest["files"].pop("metrics.json")
    write_json(done / "models" / "train_text" / "manifest.json", manifest)
    with pytest.raises(UnimrError, match=r"name_to_name_mrr fell from 2\.500 .*The model was not saved"):
        run_train_joint(load_params(done), done)
    assert not (done / "models" / "train_joint").exists()


def test_other_parameters_begin_anew_and_drop_what_the_last_ones_left(done):
    old = done / ".work" / "train_nlu" / "0000000000000000"
    old.mkdir(parents=True)
    before = (done / "models" / "train_nlu" / "model.safetensors").read_bytes()
    params = load_params(done)
    other = params.model_copy(update={"train_nlu": params.train_nlu.model_copy(update={"seed": 7})})
    run_train_nlu(other, done)
    assert not old.exists()
    assert (done / "models" / "train_nlu" / "model.safetensors").read_bytes() != before
    run_train_nlu(params, done)
    assert (done / "models" / "train_nlu" / "model.safetensors").read_bytes() == before
