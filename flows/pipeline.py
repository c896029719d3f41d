"""The flow `pipeline`: one task a stage of `dvc.yaml`. DVC decides what runs; Prefect shows `Cached` or `Completed`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from prefect import flow, get_run_logger, runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed, State
from pydantic import BaseModel, ConfigDict, Field

from flows.dvc import StageRun, only_writer, run_stage, stages

Stage = Literal[
    "fetch", "prepare", "validate", "train_image", "train_text", "train_nlu", "train_joint",
    "evaluate", "embed", "index",
]  # fmt: skip


class PipelineParameters(BaseModel):
    """What a run of the pipeline can be asked for."""

    model_config = ConfigDict(extra="forbid")

    profile: Literal["", "demo", "ci", "gpu"] = Field("", description="Empty: the one that params.yaml names.")
    last_stage: Stage = Field("index", description="Stop after this stage.")
    force: bool = Field(False, description="Run every stage, even where nothing has changed.")
    overrides: dict[str, Any] = Field(
        {}, description='Parameters for this run alone, e.g. {"train_joint.steps": 300}. params.yaml stays as it is.'
    )
    reason: str = Field("", description="Why this run is made; it becomes part of the run's name.")


@flow(name="pipeline")
def pipeline(parameters: PipelineParameters = PipelineParameters()) -> State:  # noqa: B008 (never changed)
    """Bring everything up to date, from the data to the published index; only what has changed is run."""
    log, root = get_run_logger(), Path()
    with only_writer(runtime.flow_run.name, log.info, root):
        names = stages(root)
        wanted = names[: names.index(parameters.last_stage) + 1] if parameters.last_stage in names else names
        runs = [run_as_task(name, parameters.force) for name in wanted]
    ran = [run.stage for run in runs if not run.cached]
    return Completed(message=f"Ran: {', '.join(ran)}" if ran else "Nothing has changed")


def run_as_task(stage: str, force: bool) -> StageRun:
    """Run a stage as a task of its name; raises what the stage failed with."""
    named = stage_task.with_options(name=stage, task_run_name=stage)
    done: StageRun = named(stage, force, return_state=True).result()
    return done


@task(cache_policy=NO_CACHE)
def stage_task(stage: str, force: bool) -> State[StageRun]:
    """One stage; DVC says whether it had to run."""
    done = run_stage(stage, get_run_logger().info, force)
    if done.cached:
        return Completed(name="Cached", message=f"The stage is {done.outcome}", data=done)
    return Completed(data=done)
