from __future__ import annotations

import html
import re

import numpy as np
import pandas as pd
import pytest
import yaml

from unimr.config import load_params
from unimr.errors import UnimrError
from unimr.files import read_json
from unimr.study import run as run_module
from unimr.study.result import Result
from unimr.study.run import result_path, run
from unimr.study.runs import planned, run_all
from unimr.study.study import WORK, page_path, run_study
from unimr.study.tables import check_budget

from .conftest import copy_tables

ASKING = pd.DataFrame({"item_id": ["a", None]})
COMMANDS = pd.DataFrame({"item_id": [None, None]})


def test_a_study_from_tables_to_page_and_on(root):
    told: list[str] = []
    said = run_study(root, jobs=2, tell=told.append)
    assert told[0] == "0 of 4 runs are done" and len(told) == 5
    found = read_json(root / "metrics" / "study.json")
    assert found["answers"] == {each.question: each.sentence for each in said}
    unified, text_only = found["scores"]["unified"], found["scores"]["text_only"]
    assert set(text_only) < set(unified) and "nlu.slot_f1" in set(unified) - set(text_only)
    for measure, score in text_only.items():
        assert len(score["seeds"]) == 2
        expected = np.mean(score["seeds"]) - np.mean(unified[measure]["seeds"])
        assert score["difference"]["value"] == pytest.approx(expected, abs=2e-4)
        assert score["difference"]["low"] <= score["difference"]["value"] <= score["difference"]["high"]
    assert {"tfidf", "bm25", "random"} <= set(found["baselines"]["name_to_name.mrr"])
    page = page_path(root).read_text()
    assert all(html.escape(each.sentence) in page for each in said)
    assert not re.search(r"https?://", page)
    assert (root / "plots" / "study.csv").read_text().startswith("name,measure,mean,")

    work = (root / WORK / "tiny").absolute()
    gone = next((work / "results").glob("text_only-1-*"))
    before = Result.read(gone).values
    gone.unlink()
    told.clear()
    run_all(planned(["unified", "text_only"], 2), root, "tiny", work, 1, told.append)  # only what is missing
    assert told[0] == "3 of 4 runs are done" and len(told) == 2
    after = Result.read(gone).values
    assert all(np.array_equal(before[task], after[task]) for task in before)


def fails(*_: object) -> None:
    raise ZeroDivisionError


def test_a_run_that_broke_off_goes_on_after_the_last_stage_that_is_done(root, monkeypatch):
    work, functions = root / WORK / "tiny", dict(run_module.FUNCTIONS)
    copy_tables(None, root, work)
    monkeypatch.setattr(run_module, "FUNCTIONS", functions | {"train_nlu": f"{__name__}:fails"})
    with pytest.raises(ZeroDivisionError):
        run(root, "tiny", "image_only", 0, work)
    assert (work / "runs" / "image_only-0" / "models" / "train_text").exists()
    done = dict.fromkeys(("train_image", "train_text"), f"{__name__}:fails")
    monkeypatch.setattr(run_module, "FUNCTIONS", functions | done)
    run(root, "tiny", "image_only", 0, work)
    found = Result.read(result_path(root, "tiny", "image_only", 0, work))
    assert "nlu" not in found.values and found.values["name_to_image_trained"].shape[1] == 3
    assert not (work / "runs" / "image_only-0").exists()


def test_other_parameters_are_another_result(root):
    work = root / WORK / "tiny"
    copy_tables(None, root, work)
    paths = {result_path(root, "tiny", name, seed, work) for name in ("unified", "no_nlu") for seed in (0, 1)}
    assert len(paths) == 4
    profile = root / "profiles" / "tiny.yaml"
    profile.write_text(profile.read_text().replace("steps: 4", "steps: 5"))
    assert result_path(root, "tiny", "unified", 0, work) not in paths


def test_the_rates_of_a_peer_decide_its_result_alone(root):
    work = root / WORK / "tiny"
    copy_tables(None, root, work)
    names = ("unified", "clip", "sentence_transformers")
    before = {name: result_path(root, "tiny", name, 0, work) for name in names}
    profile = root / "profiles" / "tiny.yaml"
    values = yaml.safe_load(profile.read_text())
    values["study"]["clip"] = {"learning_rate": 0.5}
    profile.write_text(yaml.safe_dump(values))
    assert [name for name in names if result_path(root, "tiny", name, 0, work) != before[name]] == ["clip"]


@pytest.mark.parametrize(("most", "set_to"), [(1, 2), (3, 1)])
def test_pictures_that_would_be_counted_wrong_are_refused(root, most, set_to):
    params = load_params(root, {"study.renderings": set_to})
    images = pd.DataFrame({"item_id": ["a"] * most + ["b"] * 5, "split": ["train"] * most + ["test_item"] * 5})
    with pytest.raises(UnimrError, match=rf"study.renderings is {set_to}, but .* at most {most} train pictures"):
        check_budget(params, images, ASKING)
    check_budget(load_params(root, {"study.renderings": min(most, 2)}), images, ASKING)


@pytest.mark.parametrize(("asks", "words"), [(True, "true, but .* no utterances ask"), (False, "false, but .* some")])
def test_utterances_that_would_be_counted_wrong_are_refused(root, asks, words):
    images = pd.DataFrame({"item_id": ["a", "a"], "split": ["train", "train"]})
    with pytest.raises(UnimrError, match=f"study.utterances_ask is {words}"):
        check_budget(load_params(root, {"study.utterances_ask": asks}), images, COMMANDS if asks else ASKING)
    check_budget(load_params(root, {"study.utterances_ask": asks}), images, ASKING if asks else COMMANDS)


def test_a_damaged_result_is_named(tmp_path):
    (tmp_path / "unified-0-00.safetensors").write_bytes(b"broken")
    with pytest.raises(UnimrError, match=r"unified-0-00\.safetensors is damaged"):
        Result.read(tmp_path / "unified-0-00.safetensors")


def test_rounds_of_seeds_come_one_after_the_other_and_what_is_not_trained_once(monkeypatch):
    monkeypatch.setattr("unimr.study.runs.find_spec", lambda module: module)
    runs = planned(["unified", "minilm"], 2)
    assert [(each.name, each.seed) for each in runs] == [("unified", 0), ("minilm", 0), ("unified", 1)]


def test_a_study_without_unified_is_refused():
    with pytest.raises(UnimrError, match="lacks 'unified'"):
        planned(["text_only"], 2)


def test_a_peer_whose_library_is_missing_is_named_before_anything_runs(monkeypatch):
    monkeypatch.setattr("unimr.study.runs.find_spec", lambda module: None if module == "datasets" else module)
    with pytest.raises(UnimrError, match=r"`sentence_transformers` needs what is not installed: datasets\. Run `make"):
        planned(["unified", "sentence_transformers"], 1)
