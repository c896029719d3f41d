"""The flow `pipeline`: one task a stage of `dvc.yaml`. DVC decides what runs; Prefect shows `Cached` or `Completed`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from prefect import flow, get_run_logger, runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import BaseModel, ConfigDict, Field

from flows.artifacts import Published, TrainingProgress, show_figures, show_reports, show_sheet
from flows.dvc import StageRun, only_writer, run_stage, stages, unchanged_stages
from flows.ending import end_with_worker
from flows.overrides import overridden
from unimr.config import place_overrides
from unimr.files import read_json
from unimr.index.publish import confirm

Stage = Literal[
    "fetch", "prepare", "validate", "train_image", "train_text", "train_nlu", "train_joint",
    "embed", "evaluate", "index", "monitor",
]  # fmt: skip


class PipelineParameters(BaseModel):
    """What a run of the pipeline can be asked for."""

    model_config = ConfigDict(extra="forbid")

    profile: Literal["", "demo", "ci", "gpu", "photos", "paper", "study", "study_catalogue", "study_photos"] = Field(
        default="", description="For this run alone. Empty: the one that params.yaml names."
    )
    last_stage: Stage = Field(default="monitor", description="Stop after this stage.")
    force: bool = Field(default=False, description="Run every stage, even where nothing has changed.")
    overrides: dict[str, Any] = Field(
        default={},
        description='Parameters for this run alone, e.g. {"train_joint.steps": 300}; params.yaml is put back after it.',
    )
    reason: str = Field(default="", description="Why this run is made; it becomes part of the run's name.")


def run_name() -> str:
    """Name of a run: when it began, and why."""
    parameters = runtime.flow_run.parameters.get("parameters") or PipelineParameters()
    reason = parameters["reason"] if isinstance(parameters, dict) else parameters.reason
    return f"{datetime.now():%Y-%m-%d %H:%M} {reason}".strip()


@flow(name="pipeline", flow_run_name=run_name)
def pipeline(parameters: PipelineParameters = PipelineParameters()) -> State:  # noqa: B008 (never changed)
    """Bring everything up to date, from the data to the published index; only what has changed is run."""
    end_with_worker()  # with the worker: what runs here is then known, and the next worker can start
    log, root = get_run_logger().info, Path()
    overrides = ({"profile": parameters.profile} if parameters.profile else {}) | parameters.overrides
    if overrides:
        place_overrides(overrides, root)  # what does not fit is refused now, not after waiting
    with only_writer(runtime.flow_run.name, log, root), overridden(overrides, log, root):
        before, wanted = Published.read(root), stages(root)
        wanted = wanted[: wanted.index(parameters.last_stage) + 1]
        runs: list[StageRun] = []
        unchanged = set() if parameters.force else unchanged_stages(log, root)
        for stage in wanted:  # as long as nothing changes, what DVC said of all of them at once holds
            known = stage in unchanged and all(run.outcome == "unchanged" for run in runs)
            runs.append(run_as_task(stage, parameters.force, known))
        done = final_state(root, runs)
        if "index" in wanted and done.name != "Kept":
            confirm(root)
        show(root, runs, before, str(done.message))
    return done


def run_as_task(stage: str, force: bool, unchanged: bool = False) -> StageRun:
    """Run a stage as a task of its name, and raise what it failed with; `unchanged`: DVC has said so already."""
    named = stage_task.with_options(name=stage, task_run_name=stage)
    run: StageRun = named(stage, force, unchanged, return_state=True).result()
    return run


@task(cache_policy=NO_CACHE)
def stage_task(stage: str, force: bool, unchanged: bool) -> Any:
    """One stage; DVC says whether it had to run. What it logs goes into the log of the run as it comes."""
    log, progress = get_run_logger(), TrainingProgress()

    def tell(line: str) -> None:
        (log.error if line.lower().startswith("error: ") else log.info)(line)
        progress(line)

    done = StageRun(stage, "unchanged", 0.0) if unchanged else run_stage(stage, tell, force)
    if done.cached:
        return Completed(name="Cached", message=f"The stage is {done.outcome}", data=done)
    return Completed(message=f"Ran for {done.seconds:.0f} s", data=done)


def final_state(root: Path, runs: Sequence[StageRun]) -> State:
    """What the run came to, in a sentence; a version that the gate kept back gives a state of the name `Kept`."""
    ran = [run.stage for run in runs if not run.cached]
    did = f"Ran {', '.join(ran)}" if ran else "Nothing had changed"
    if "index" not in {run.stage for run in runs}:
        return Completed(message=f"{did}; stopped after {runs[-1].stage}")
    index, live = read_json(root / "metrics" / "index.json"), Published.read(root).version
    if index["version"] == live:
        return Completed(message=f"{did}; version {live} is live")
    reasons = "; ".join(index["gate"]["reasons"])
    if not reasons:
        return Completed(message=f"{did}; version {live} is live, chosen by hand over {index['version']}")
    return Completed(name="Kept", message=f"Kept, not published: {reasons}. {did}; version {live} stays live")


def show(root: Path, runs: Sequence[StageRun], before: Published, said: str) -> None:
    """The artifacts of a run, as far as it went."""
    seen = {run.stage: run for run in runs}
    if "evaluate" in seen:
        show_figures(root, before, said)
    show_reports(root)
    if "index" in seen and not seen["index"].cached:
        show_sheet(root, read_json(root / "metrics" / "index.json")["version"])
