"""The flow `study`: puts the claims to the test, and shows the answers; what was run before is not run again."""

from __future__ import annotations

from pathlib import Path

from prefect import State, flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.states import Completed
from pydantic import BaseModel, ConfigDict, Field

from flows.ending import end_with_worker
from flows.pipeline import run_name
from unimr.study.study import page_path, run_study


class StudyParameters(BaseModel):
    """What a study can be asked for."""

    model_config = ConfigDict(extra="forbid")

    profile: str = Field(default="", description="Whose tables, model and steps. Empty: study.profile.")
    seeds: int = Field(default=0, ge=0, description="How many seeds. 0: study.seeds.")
    jobs: int = Field(default=0, ge=0, description="Runs side by side. 0: study.jobs.")
    reason: str = Field(default="", description="Why this run is made; it becomes part of the run's name.")


@flow(name="study", flow_run_name=run_name)
def study(parameters: StudyParameters = StudyParameters()) -> State:  # noqa: B008 (never changed)
    """Train every variant and peer with every seed, compare them, and show what came out."""
    end_with_worker()
    root, log = Path(), get_run_logger().info
    said = run_study(root, parameters.profile, parameters.seeds, parameters.jobs, log)
    page = page_path(root, parameters.profile).resolve()
    rows = [f"**{each.question}** {each.sentence}" for each in said]
    create_markdown_artifact("\n\n".join([*rows, f"Report: {page}"]), key="study", description=said[0].sentence)
    return Completed(message=said[0].sentence)
