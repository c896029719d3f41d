from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from unimr.config import choose_profile, load_params, place_overrides
from unimr.errors import UnimrError

PROJECT = Path(__file__).parents[1]
PROFILES = sorted(path.stem for path in (PROJECT / "profiles").glob("*.yaml"))


@pytest.fixture
def root(tmp_path):
    """The committed parameters, to change."""
    shutil.copy(PROJECT / "params.yaml", tmp_path)
    shutil.copytree(PROJECT / "profiles", tmp_path / "profiles")
    return tmp_path


def change(root: Path, section: str, **values: object) -> None:
    path = root / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params[section].update(values)
    path.write_text(yaml.safe_dump(params))


@pytest.mark.parametrize("profile", PROFILES)
def test_every_committed_profile_loads(root, profile):
    choose_profile(profile, root)
    assert load_params(root).profile == profile


def test_the_committed_profiles_are_the_documented_ones():
    assert set(PROFILES) >= {"demo", "ci", "gpu"}


def test_a_profile_replaces_single_keys_and_leaves_the_rest(root):
    (root / "profiles" / "mine.yaml").write_text("train_text: {steps: 7}\nprepare: {languages: [en]}\n")
    before = load_params(root)
    choose_profile("mine", root)
    after = load_params(root)
    assert after.train_text.steps == 7
    assert after.train_text.batch_size == before.train_text.batch_size
    assert after.prepare.languages == ["en"]
    assert after.train_joint == before.train_joint


def test_a_misspelt_key_names_the_right_one(root):
    change(root, "train_text", learning_rat=0.1)
    with pytest.raises(UnimrError, match=r"train_text\.learning_rat: unknown parameter\. Did you mean `learning_rate`"):
        load_params(root)


def test_a_key_misspelt_in_place_of_the_right_one_is_the_only_complaint(root):
    path = root / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params["train_nlu"]["batch_sise"] = params["train_nlu"].pop("batch_size")
    path.write_text(yaml.safe_dump(params))
    with pytest.raises(UnimrError, match=r"Did you mean `batch_size`") as error:
        load_params(root)
    assert "required" not in str(error.value)


def test_a_misspelt_section_names_the_right_one(root):
    path = root / "params.yaml"
    path.write_text(path.read_text() + "\nvalidat: {}\n")
    with pytest.raises(UnimrError, match=r"validat: unknown parameter\. Did you mean `validate`"):
        load_params(root)


def test_a_misspelt_nested_key_names_the_right_one(root):
    (root / "profiles" / "mine.yaml").write_text("model: {text: {bukets: 5}}\n")
    choose_profile("mine", root)
    with pytest.raises(UnimrError, match=r"model\.text\.bukets: unknown parameter\. Did you mean `buckets`"):
        load_params(root)


def test_a_key_like_no_other_lists_the_known_ones(root):
    change(root, "validate", xyzzy=1)
    with pytest.raises(UnimrError, match=r"validate\.xyzzy: unknown parameter\. Known: suites, max_quarantined_share"):
        load_params(root)


@pytest.mark.parametrize("value", ["100", 1.5, True, None, [3], -3])
def test_a_wrong_value_is_named_with_what_it_is(root, value):
    change(root, "train_image", steps=value)
    with pytest.raises(UnimrError, match=r"train_image\.steps: .*\(it is "):
        load_params(root)


@pytest.mark.parametrize("value", [-0.1, 1.1, "half"])
def test_a_share_is_between_0_and_1(root, value):
    change(root, "validate", max_quarantined_share=value)
    with pytest.raises(UnimrError, match=r"validate\.max_quarantined_share"):
        load_params(root)


def test_a_missing_key_is_named(root):
    path = root / "params.yaml"
    params = yaml.safe_load(path.read_text())
    del params["train_nlu"]["seed"]
    path.write_text(yaml.safe_dump(params))
    with pytest.raises(UnimrError, match=r"train_nlu\.seed: this parameter is missing$"):
        load_params(root)


def test_an_unknown_profile_names_the_nearest(root):
    path = root / "params.yaml"
    path.write_text(path.read_text().replace("profile: demo", "profile: dmeo"))
    with pytest.raises(UnimrError, match=r"there is no profile 'dmeo'\. Did you mean `demo`"):
        load_params(root)
    with pytest.raises(UnimrError, match=r"no profile 'gpuu'\. Did you mean `gpu`"):
        choose_profile("gpuu", root)


def test_choosing_a_profile_changes_one_line(root):
    before = (root / "params.yaml").read_text().splitlines()
    choose_profile("ci", root)
    after = (root / "params.yaml").read_text().splitlines()
    changed = [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]]
    assert changed == [("profile: demo", "profile: ci")]


def test_no_params_says_where_to_run(tmp_path):
    with pytest.raises(UnimrError, match=r"params\.yaml does not exist.*project folder"):
        load_params(tmp_path)


@pytest.mark.parametrize(("text", "said"), [("a: [1", "not valid YAML"), ("- 1\n", "sections"), ("", "sections")])
def test_what_is_no_yaml_of_sections_is_named(root, text, said):
    (root / "params.yaml").write_text(text)
    with pytest.raises(UnimrError, match=said):
        load_params(root)


def test_params_cannot_be_changed_after_loading(root):
    with pytest.raises(ValueError, match="frozen"):
        load_params(root).train_text.steps = 3


@pytest.mark.parametrize("kind", ["docker", "kubernetes"])
def test_a_pool_of_containers_needs_an_image(root, kind):
    change(root, "deploy", work_pool_type=kind)
    with pytest.raises(UnimrError, match=rf"deploy: .*image is missing; a work pool of type {kind} needs it"):
        load_params(root)
    change(root, "deploy", job_variables={"image": "unimr:1"})
    assert load_params(root).deploy.job_variables == {"image": "unimr:1"}


def test_overrides_are_laid_over_the_profile(root):
    choose_profile("ci", root)
    changed = load_params(root, {"train_joint.steps": 7, "model.text": {"layers": 2}})
    assert (changed.train_joint.steps, changed.model.text.layers) == (7, 2)
    assert changed.model.text.buckets == load_params(root).model.text.buckets
    assert load_params(root, {"profile": "demo"}).profile == "demo"


def test_overrides_are_placed_where_their_values_stand(root):
    choose_profile("ci", root)
    overrides = {"train_joint.steps": 7, "train_joint.seed": 1, "model.text": {"layers": 2, "buckets": 64}}
    assert place_overrides(overrides, root) == {
        root / "params.yaml": {"train_joint": {"seed": 1}, "model": {"text": {"layers": 2}}},
        root / "profiles" / "ci.yaml": {"train_joint": {"steps": 7}, "model": {"text": {"buckets": 64}}},
    }
    assert place_overrides({}, root) == {}


@pytest.mark.parametrize("key", ["train_joint.stepz", "trian_joint.steps", "train_joint.steps.x"])
def test_an_override_that_does_not_fit_is_refused(root, key):
    with pytest.raises(UnimrError, match=r"params\.yaml.* does not fit"):
        place_overrides({key: 7}, root)


def test_a_misspelt_key_of_a_source_names_the_right_one(root):
    change(root, "data", sources=[{"name": "massive", "wieght": 2.0}])
    with pytest.raises(UnimrError, match=r"data\.sources\.0\.wieght: unknown parameter\. Did you mean `weight`"):
        load_params(root)
