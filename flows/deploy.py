"""Work pool, deployments and automations, made or brought up to date on the server at PREFECT_API_URL.

`python -m flows.deploy` may be run any number of times. What a person has changed in the UI stays as it is:
schedules, pauses, default parameters, concurrency limits, automations that were switched off. What the code says
of itself, of texts and of the work pool is brought up to date.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import typer
from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate, WorkPoolCreate
from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectNotFound
from prefect.utilities.callables import parameter_schema
from prefect.workers.process import ProcessWorker

from flows.automations import automations, ensure_automation, expect_signs_of_life
from flows.deployments import DEPLOYMENTS, Deployment
from unimr.config import load_params
from unimr.errors import UnimrError
from unimr.params import DeployParams

ROOT = Path(__file__).resolve().parents[1]
"""The project folder: where the runs of a work pool of type `process` work."""
TAGS = ["unimr"]


def deploy() -> None:
    """Make or bring up to date everything on the server.

    Raises:
        UnimrError: the parameters or the work pool that is there do not fit.
    """
    params = load_params(ROOT).deploy
    with get_client(sync_client=True) as client:
        ensure_pool(client, params)
        ids = {each.full_name: ensure_deployment(client, each, params) for each in DEPLOYMENTS}
        for automation in automations(client, ids):
            ensure_automation(client, automation)
        expect_signs_of_life(client)


def ensure_pool(client: SyncPrefectClient, params: DeployParams) -> None:
    """Make the work pool; where its runs are containers, the first worker brings the settings of its type.

    Raises:
        UnimrError: there is one of that name and another type.
    """
    try:
        found = client.read_work_pool(params.work_pool)
    except ObjectNotFound:
        template = ProcessWorker.get_default_base_job_template() if params.work_pool_type == "process" else {}
        client.create_work_pool(
            WorkPoolCreate(name=params.work_pool, type=params.work_pool_type, base_job_template=template)
        )
        return
    if found.type != params.work_pool_type:
        raise UnimrError(
            f"The work pool {params.work_pool!r} is of type {found.type}, and deploy.work_pool_type in params.yaml is "
            f"{params.work_pool_type}. Give deploy.work_pool another name; the pools can stand side by side."
        )


def ensure_deployment(client: SyncPrefectClient, wanted: Deployment, params: DeployParams) -> UUID:
    """Make a deployment, or bring the code's part of it up to date; returns its id."""
    of_code: dict[str, Any] = {
        "version": code_version(),
        "description": wanted.description,
        "tags": TAGS,
        "entrypoint": f"{wanted.flow.fn.__module__}.{wanted.flow.fn.__name__}",
        "parameter_openapi_schema": parameter_schema(wanted.flow.fn).model_dump_for_openapi(),
        "work_pool_name": params.work_pool,
        "pull_steps": [{"prefect.deployments.steps.set_working_directory": {"directory": project_folder(params)}}],
        "job_variables": params.job_variables,
    }
    try:
        found = client.read_deployment_by_name(wanted.full_name)
    except ObjectNotFound:
        return client.create_deployment(
            flow_id=client.create_flow_from_name(wanted.flow.name),
            name=wanted.name,
            schedules=_schedules(wanted),
            concurrency_limit=1 if wanted.alone else None,
            concurrency_options=ConcurrencyOptions(collision_strategy=ConcurrencyLimitStrategy.ENQUEUE),
            enforce_parameter_schema=True,
            **of_code,
        )
    client.update_deployment(found.id, DeploymentUpdate(**of_code))
    return found.id


def _schedules(wanted: Deployment) -> list[DeploymentScheduleCreate]:
    if wanted.cron is None:
        return []
    return [DeploymentScheduleCreate(schedule=CronSchedule(cron=wanted.cron), active=wanted.active, slug=wanted.name)]


def project_folder(params: DeployParams) -> str:
    """Where runs work: a process in this folder, a container in the working folder of its image."""
    return str(ROOT) if params.work_pool_type == "process" else "."


def code_version() -> str:
    """The git commit, marked where files differ from it; empty outside of a git checkout."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()


def main() -> int:
    """Deploy and say what is there; returns the exit status."""
    url = os.environ.get("PREFECT_API_URL")
    try:
        if not url:
            raise UnimrError("PREFECT_API_URL is not set: `make ui` starts a server and deploys to it.")
        deploy()
    except httpx.HTTPError as error:
        message = f"The Prefect server {url} did not do it: {error}. Start it, or use `make ui`, which starts its own."
        typer.secho(f"Error: {message}", fg=typer.colors.RED, err=True)
        return 1
    except UnimrError as error:
        typer.secho(f"Error: {error}", fg=typer.colors.RED, err=True)
        return 1
    typer.echo(f"Deployed: {', '.join(each.full_name for each in DEPLOYMENTS)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
