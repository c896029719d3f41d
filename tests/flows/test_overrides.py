from __future__ import annotations

import pytest

from flows.overrides import JOURNAL, overridden
from unimr.config import load_params
from unimr.errors import UnimrError

from .small_project import make


@pytest.fixture
def root(tmp_path):
    return make(tmp_path / "project")


def files(root) -> dict[str, str]:
    return {path.name: path.read_text() for path in [root / "params.yaml", *(root / "profiles").iterdir()]}


def test_overrides_hold_inside_the_block_and_the_files_are_as_before_after_it(root):
    before, said = files(root), []
    with overridden({"train_joint.steps": 7, "prepare.languages": ["en", "de"]}, said.append, root):
        params = load_params(root)
        assert (params.train_joint.steps, params.prepare.languages) == (7, ["en", "de"])
        changed = (root / "params.yaml").read_text()
        assert changed.count("#") == before["params.yaml"].count("#")  # comments stay
        assert "batch_size: 384 # texts a step" in changed
    assert files(root) == before
    assert said == ["For this run alone: train_joint.steps = 7, prepare.languages = ['en', 'de']"]
    assert not (root / JOURNAL).exists()


def test_what_the_profile_sets_is_overridden_in_the_profile(root):
    before = files(root)
    with overridden({"profile": "ci", "train_joint": {"steps": 7, "seed": 3}}, print, root):
        params = load_params(root)
        assert (params.profile, params.train_joint.steps, params.train_joint.seed) == ("ci", 7, 3)
        assert (root / "params.yaml").read_text() == before["params.yaml"].replace(
            "profile: demo", "profile: ci"
        ).replace("train_joint:\n  seed: 0", "train_joint:\n  seed: 3")
    assert files(root) == before


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"train_joint.stepz": 7}, r"train_joint\.stepz: unknown parameter\. Did you mean `steps`"),
        ({"trian_joint.steps": 7}, r"trian_joint: unknown parameter\. Did you mean `train_joint`"),
        ({"train_joint.steps": "many"}, r"train_joint\.steps: .*\(it is 'many'\)"),
        ({"train_joint": 7}, r"train_joint: .*\(it is 7\)"),
        ({"evaluate.seed": 2, "profile": "dmeo"}, r"no profile 'dmeo'\. Did you mean `demo`"),
    ],
)
def test_what_does_not_fit_changes_nothing(root, overrides, said):
    before = files(root)
    with pytest.raises(UnimrError, match=said), overridden(overrides, print, root):
        raise AssertionError("must not be reached")
    assert files(root) == before


def test_after_a_failed_run_the_files_are_as_before(root):
    before = files(root)
    with pytest.raises(RuntimeError), overridden({"evaluate.seed": 2}, print, root):
        raise RuntimeError
    assert files(root) == before


def test_what_a_killed_run_left_is_taken_out_by_the_next_one(root):
    before = files(root)
    block = overridden({"evaluate.seed": 2}, print, root)
    block.__enter__()  # and the process is gone
    assert files(root) != before
    with overridden({"evaluate.seed": 5}, print, root):
        assert load_params(root).evaluate.seed == 5
    assert files(root) == before


def test_a_person_may_edit_while_a_run_goes_on(root):
    path, said = root / "params.yaml", []
    before = path.read_text()
    with overridden({"evaluate.seed": 2}, said.append, root):
        path.write_text(path.read_text().replace("bootstrap_samples: 1000", "bootstrap_samples: 900 # faster"))
    assert path.read_text() == before.replace("bootstrap_samples: 1000", "bootstrap_samples: 900 # faster")
    assert said[-1].startswith("params.yaml was edited")
