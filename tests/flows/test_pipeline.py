from __future__ import annotations

import json
import os
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import pytest
from prefect import get_client
from prefect.artifacts import Artifact
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName, TaskRunFilter
from prefect.logging import disable_run_logger
from prefect.settings import get_current_settings
from pydantic import ValidationError

from flows.dvc import StageRun, stages
from flows.pipeline import PipelineParameters, Stage, final_state, pipeline, stage_task
from tests.system.checkout import Project
from unimr.config import load_params
from unimr.files import write_json

from .small_project import PROJECT, STAGES, below, kill_all, make, notes, start, started, wait_until

UP_TO_EVALUATE = PipelineParameters(last_stage="evaluate")
SETTLED_SECONDS = 1.0
"""In which a task that should not be there would still come."""
ONLY_TRAINED = {"prepare": "Cached", "train_joint": "Completed", "evaluate": "Completed"}


@pytest.fixture
def root(tmp_path, monkeypatch):
    """The small project, as the current folder."""
    made = make(tmp_path / "project")
    monkeypatch.chdir(made)
    yield made
    kill_all(made)


def task_states(run_name: str) -> dict[str, str]:
    """Name of a task → name of its state, in the order they ran."""
    named = FlowRunFilter(name=FlowRunFilterName(any_=[run_name]))
    with get_client(sync_client=True) as client:
        found = client.read_task_runs(flow_run_filter=named, task_run_filter=TaskRunFilter())
    return {run.name: run.state.name for run in sorted(found, key=lambda run: run.start_time)}


def steps(root: Path) -> int:
    return load_params(root).train_joint.steps


def run(
    reason: str, parameters: PipelineParameters = UP_TO_EVALUATE, *, tasks: dict[str, str] | None = None
) -> tuple[str, str]:
    """Run the flow, whose tasks end in these states; gives name and message of its own."""
    state = pipeline(parameters.model_copy(update={"reason": reason}), return_state=True)
    with get_client(sync_client=True) as client:
        name = client.read_flow_run(state.state_details.flow_run_id).name
    assert name.endswith(f" {reason}")
    if tasks is not None:
        wait_for_tasks(name, tasks)
    return state.name, state.message


def wait_for_tasks(run_name: str, tasks: dict[str, str]) -> None:
    """A server learns of tasks by events, one after the other, and may do so after the end of their run."""
    with suppress(AssertionError):  # what differs is said below
        wait_until(lambda: task_states(run_name) == tasks)
    time.sleep(SETTLED_SECONDS)
    assert task_states(run_name) == tasks


# Without a server


def test_the_form_offers_the_stages_of_dvc_yaml():
    assert list(get_args(Stage)) == stages(PROJECT)
    profiles = PipelineParameters.model_json_schema()["properties"]["profile"]["enum"]
    assert set(profiles) == {"", *(path.stem for path in (PROJECT / "profiles").glob("*.yaml"))}


def test_a_misspelt_parameter_is_refused():
    with pytest.raises(ValidationError, match="overides"):
        PipelineParameters(overides={})


def test_a_stage_that_need_not_run_is_cached(root):
    with disable_run_logger():
        ran = stage_task.fn("prepare", force=False, unchanged=False)
        unchanged = stage_task.fn("prepare", force=False, unchanged=False)
        known = stage_task.fn("prepare", force=False, unchanged=True)
        forced = stage_task.fn("prepare", force=True, unchanged=False)
    assert [state.name for state in (ran, unchanged, known, forced)] == ["Completed", "Cached", "Cached", "Completed"]


def state_of(root: Path, index: dict[str, Any], *, live: str, ran: bool = True) -> tuple[str, str]:
    write_json(root / "metrics/index.json", index)
    write_json(root / "published/current.json", {"version": live, "history": [live], "versions": [live]})
    state = final_state(root, [StageRun("index", "ran" if ran else "unchanged", 1.0)])
    return state.name, state.message


def test_the_final_state_says_what_is_live_and_why(tmp_path):
    published, kept = {"version": "v2", "gate": {"reasons": []}}, {"version": "v2", "gate": {"reasons": ["mrr fell"]}}
    assert state_of(tmp_path, published, live="v2") == ("Completed", "Ran index; version v2 is live")
    assert state_of(tmp_path, published, live="v2", ran=False)[1] == "Nothing had changed; version v2 is live"
    name, message = state_of(tmp_path, kept, live="v1")
    assert name == "Kept"
    assert message == "Kept, not published: mrr fell. Ran index; version v1 stays live"
    assert state_of(tmp_path, kept, live="v2", ran=False)[0] == "Completed"  # a person published it
    assert state_of(tmp_path, published, live="v1", ran=False)[1].endswith("v1 is live, chosen by hand over v2")
    stopped = final_state(tmp_path, [StageRun("evaluate", "unchanged", 1.0)])
    assert stopped.message == "Nothing had changed; stopped after evaluate"


# With a server, stages that take no time


def test_stages_run_once_and_are_cached_after_that(server, root):
    name, message = run("first", tasks=dict.fromkeys(STAGES, "Completed"))
    assert (name, message) == ("Completed", "Ran prepare, train_joint, evaluate; stopped after evaluate")
    assert Artifact.get("train-joint").data == pytest.approx(100 / steps(root))  # it tells of step 1
    assert "name_to_name_mrr" in Artifact.get("metrics").data

    name, message = run("second", tasks=dict.fromkeys(STAGES, "Cached"))
    assert message == "Nothing had changed; stopped after evaluate"

    (root / "train.py").write_text((root / "train.py").read_text() + "\n")  # not a dependency: only `force` runs it
    run("third", PipelineParameters(last_stage="prepare"), tasks={"prepare": "Cached"})
    run("fourth", UP_TO_EVALUATE.model_copy(update={"force": True}), tasks=dict.fromkeys(STAGES, "Completed"))
    assert len(started(root)) == 2


def test_overrides_are_for_one_run_alone(server, root):
    before = (root / "params.yaml").read_text()
    run("as it is")
    shorter = UP_TO_EVALUATE.model_copy(update={"overrides": {"train_joint.steps": 7}})
    run("shorter", shorter, tasks=ONLY_TRAINED)
    assert (root / "measured.txt").read_text() == "1 7"
    assert (root / "params.yaml").read_text() == before
    run("scheduled", tasks=dict.fromkeys(STAGES, "Cached"))  # restored, as it was
    assert (root / "measured.txt").read_text() == f"1 {steps(root)}"
    assert len(started(root)) == 2


def test_a_misspelt_override_fails_at_once_and_changes_nothing(server, root):
    before = (root / "params.yaml").read_text()
    wrong = UP_TO_EVALUATE.model_copy(update={"overrides": {"train_joint.stepz": 7}})
    name, message = run("misspelt", wrong, tasks={})
    assert name == "Failed"
    assert "train_joint.stepz: unknown parameter. Did you mean `steps`?" in message
    assert (root / "params.yaml").read_text() == before


def test_a_failed_stage_is_the_message_of_the_run(server, root):
    (root / "broken").touch()
    name, message = run("broken", tasks={"prepare": "Completed", "train_joint": "Failed"})
    assert name == "Failed"
    assert message.endswith("The stage train_joint failed: the loss became nan. Lower the learning rate.")


FLOW = """
from flows.pipeline import PipelineParameters, pipeline
parameters = PipelineParameters(last_stage="evaluate", reason="{reason}", overrides={overrides})
print(pipeline(parameters, return_state=True).message, flush=True)
"""


def start_flow(server: str, root: Path, reason: str, overrides: dict[str, Any] | None = None) -> Any:
    home = str(get_current_settings().home)
    return start(FLOW.format(reason=reason, overrides=overrides or {}), root, PREFECT_API_URL=server, PREFECT_HOME=home)


def test_of_two_overlapping_runs_one_waits_and_runs_nothing_twice(server, root):
    (root / "hold").touch()
    first = start_flow(server, root, "one")
    wait_until(lambda: bool(started(root)))
    second = start_flow(server, root, "two")
    said = ""
    while "Waiting for the run" not in said:
        said = second.stdout.readline()
        assert said, "the second run ended"
    assert f" one' (process {first.pid})" in said
    (root / "hold").unlink()
    assert "Ran prepare, train_joint, evaluate;" in first.communicate(timeout=60)[0]
    assert "Nothing had changed;" in second.communicate(timeout=60)[0]
    assert len(started(root)) == 1


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_killed_leaves_no_process_and_the_next_one_goes_on(server, root, how):
    before = (root / "params.yaml").read_text()
    (root / "hold").touch()
    flow = start_flow(server, root, "killed", {"evaluate.seed": 5})
    wait_until(lambda: bool(started(root)))
    os.kill(flow.pid, how)
    wait_until(lambda: not below(root), seconds=10)
    assert set(notes(root)[1:]) == {"checkpoint"}  # it may be told twice: by the flow, and by the death of its parent
    (root / "hold").unlink()
    run("again", tasks=ONLY_TRAINED)
    assert (root / "params.yaml").read_text() == before


# With a server and the real project, profile `ci`


def test_a_worse_model_is_kept_and_not_published_and_the_run_says_why(server, project, tmp_path, monkeypatch):
    copy = Project(tmp_path / "project")
    shutil.copytree(project.root, copy.root, symlinks=True)
    monkeypatch.chdir(copy.root)
    live = json.loads(Path("published/current.json").read_text())["version"]
    params = Path("params.yaml").read_text()

    name, message = run("nothing new", PipelineParameters(), tasks=dict.fromkeys(stages(PROJECT), "Cached"))
    assert (name, message) == ("Completed", f"Nothing had changed; version {live} is live")

    every = stages(PROJECT)
    again = every[every.index("train_joint") :]
    tasks = dict.fromkeys(every, "Cached") | dict.fromkeys(again, "Completed")
    name, message = run("sabotage", PipelineParameters(overrides={"train_joint.steps": 1}), tasks=tasks)
    assert name == "Kept"
    assert message.startswith("Kept, not published: ")
    assert "name_to_image_trained_recall_at_10 fell from 0." in message
    index = json.loads(Path("metrics/index.json").read_text())
    pointer = json.loads(Path("published/current.json").read_text())
    assert (index["published"], pointer["version"]) == (False, live)
    assert pointer["versions"] == [live, index["version"]]
    assert f"published before this run: {live}" in Artifact.get("metrics").data
    assert "| **-0." in Artifact.get("metrics").data
    assert "](file://" in Artifact.get("reports").data
    assert "data:image/jpeg;base64," in Artifact.get("result-sheet").data

    copy.run("dvc", "repro")  # as the command line has it: back to the parameters of the project
    assert Path("params.yaml").read_text() == params
    assert json.loads(Path("metrics/index.json").read_text())["version"] == live
    assert json.loads(Path("published/current.json").read_text())["version"] == live
    copy.run("unimr", "publish", index["version"])
    assert json.loads(Path("published/current.json").read_text())["version"] == index["version"]
    assert "is live again" in copy.run("unimr", "rollback").stdout
