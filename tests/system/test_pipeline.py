"""The whole pipeline, for real: profile `ci`, DVC, git, and a search at the end."""

from __future__ import annotations

import json
import time

import pytest
import yaml

from tests.system.checkout import Project, commit

STAGES = (  # in the order they run
    "fetch", "prepare", "validate", "train_image", "train_text", "train_nlu", "train_joint",
    "embed", "evaluate", "index", "monitor",
)  # fmt: skip
CI_SECONDS = 90
BUSY = 5
"""How much slower may be a shared machine that runs other tests meanwhile, before a time limit counts as missed."""

GATES = {
    ("name_to_name", "mrr"): 0.12,
    ("keyword_to_item", "mrr"): 0.25,
    ("intent_to_item", "mrr"): 0.65,
    ("intent_distractor_to_item", "mrr"): 0.42,
    ("name_to_image_trained", "recall_at_10"): 0.20,
    ("name_to_image_unseen_style", "recall_at_10"): 0.11,
    ("nlu", "intent_accuracy"): 0.53,
    ("nlu", "slot_f1"): 0.36,
}
"""About 70 % of what profile `ci` typically reaches."""


def ran(output: str) -> list[str]:
    """Stages that `dvc repro` really ran."""
    return [stage for stage in STAGES if f"Running stage '{stage}'" in output]


def set_parameter(project: Project, text: str, other: str) -> None:
    path = project.root / "params.yaml"
    content = path.read_text(encoding="utf-8")
    assert text in content
    path.write_text(content.replace(text, other), encoding="utf-8")


def test_the_pipeline_ends_in_a_search(project: Project) -> None:
    answer = json.loads(project.run("unimr", "search", "bandera", "--json", "--lang", "es").stdout)
    assert len(answer["hits"]) == 10
    assert any("flag" in hit["english"] for hit in answer["hits"])
    assert project.first_seconds < CI_SECONDS * BUSY


def test_the_lock_file_names_every_stage(project: Project) -> None:
    lock = yaml.safe_load((project.root / "dvc.lock").read_text(encoding="utf-8"))
    assert set(lock["stages"]) == set(STAGES)


@pytest.mark.parametrize(("task", "measure"), GATES)
def test_the_model_is_worth_having(project: Project, task: str, measure: str) -> None:
    metrics = json.loads((project.root / "metrics" / "evaluation.json").read_text(encoding="utf-8"))
    assert metrics[task][measure] >= GATES[task, measure]


def test_a_second_repro_does_nothing(project: Project) -> None:
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        output = project.run("dvc", "repro").stdout
        seconds.append(time.perf_counter() - started)
        assert ran(output) == []
    assert min(seconds) < 1.5 * BUSY


def test_a_change_runs_what_depends_on_it_and_reverting_runs_nothing(project: Project) -> None:
    weights = (project.root / "models" / "train_joint" / "manifest.json").read_bytes()
    set_parameter(project, "nlu_weight: 1.0", "nlu_weight: 0.9")
    assert ran(project.run("dvc", "repro").stdout) == ["train_joint", "embed", "evaluate", "index", "monitor"]
    set_parameter(project, "nlu_weight: 0.9", "nlu_weight: 1.0")
    output = project.run("dvc", "repro").stdout
    assert "train_joint" not in ran(output)
    assert "index" in ran(output)  # always run: whether a version goes live depends on what is live
    index = json.loads((project.root / "metrics" / "index.json").read_text(encoding="utf-8"))
    live = json.loads((project.root / "published" / "current.json").read_text(encoding="utf-8"))["version"]
    assert (index["version"] == live) == index["published"] == (not index["gate"]["reasons"])
    assert (project.root / "models" / "train_joint" / "manifest.json").read_bytes() == weights


def test_the_reference_of_the_live_version_stands_and_no_traffic_is_no_failure(project: Project) -> None:
    version = json.loads((project.root / "published" / "current.json").read_text(encoding="utf-8"))["version"]
    assert (project.root / "published" / "references" / version / "traffic.parquet").exists()
    assert json.loads((project.root / "metrics" / "monitor.json").read_text(encoding="utf-8"))["verdict"] == "unsure"
    done = project.run("unimr", "monitor", check=False)
    assert done.returncode == 2, done.stdout
    assert "Traffic. Not decided: There is no query log" in done.stdout
    assert ran(project.run("dvc", "repro").stdout) == []


def test_metrics_and_plots_can_be_looked_at_offline(project: Project) -> None:
    shown = project.run("dvc", "metrics", "show", "--json").stdout
    assert "name_to_name" in shown
    project.run("dvc", "metrics", "diff")
    project.run("python", "-m", "unimr.evaluation.plots_page")
    project.run("dvc", "plots", "show", "-o", "plots-page")
    page = (project.root / "plots-page" / "index.html").read_text(encoding="utf-8")
    assert "window.vegaEmbed" in page
    assert "What the model reaches" in page
    assert "<script src" not in page  # nothing is loaded from outside


def test_an_experiment_changes_one_parameter(project: Project) -> None:
    project.run("dvc", "exp", "run", "-S", "evaluate.bootstrap_samples=50", "-n", "fewer-samples")
    assert "fewer-samples" in project.run("dvc", "exp", "show", "--csv", "--no-pager").stdout
    project.run("git", "checkout", "-q", ".")
    project.run("dvc", "checkout")


def test_push_and_pull_through_a_folder(project: Project, tmp_path_factory: pytest.TempPathFactory) -> None:
    remote, clone = tmp_path_factory.mktemp("remote"), tmp_path_factory.mktemp("clone") / "project"
    project.run("dvc", "remote", "add", "--force", "--default", "folder", str(remote))
    commit(project)
    project.run("dvc", "push")
    project.run("git", "clone", "-q", str(project.root), str(clone))
    cloned = Project(clone)
    cloned.run("dvc", "pull")
    assert ran(cloned.run("dvc", "repro").stdout) == [
        "index",
        "monitor",
    ]  # what is live is of a machine, not of a remote
    assert json.loads(cloned.run("unimr", "search", "bandera", "--json", "--lang", "es").stdout)["hits"]
    assert cloned.run("dvc", "status").stdout.strip().endswith("up to date.")
