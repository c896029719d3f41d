"""Work pool, deployments and automations, made or brought up to date on the server at PREFECT_API_URL.

`python -m flows.deploy` may be run any number of times. What a person has changed in the UI stays as it is:
schedules, pauses, default parameters, concurrency limits, automations that were switched off. What this file says of
code, texts and the work pool is brought up to date.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import typer
from prefect import Flow, get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate, WorkPoolCreate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import ConcurrencyLimitStrategy, ConcurrencyOptions, StateType
from prefect.client.schemas.schedules import CronSchedule
from prefect.events import AutomationCore, Event, EventTrigger, Resource
from prefect.events.actions import ChangeFlowRunState, RunDeployment
from prefect.events.schemas.automations import Posture
from prefect.exceptions import ObjectNotFound
from prefect.utilities.callables import parameter_schema
from prefect.workers.process import ProcessWorker

from flows.guard import FAILURES, PAUSED_EVENT, guard
from flows.monitor import DRIFT_EVENT, monitor
from flows.pipeline import pipeline
from flows.refresh import refresh
from flows.study import study
from unimr.config import load_params
from unimr.errors import UnimrError
from unimr.params import DeployParams

ROOT = Path(__file__).resolve().parents[1]
"""The project folder: where the runs of a work pool of type `process` work."""
TAGS = ["unimr"]
LOST = "No sign of life: the worker, its machine or the network is gone"
HEARTBEAT = "prefect.flow-run.heartbeat"
HEARTBEATS_LOST = timedelta(seconds=105)
"""Without a heartbeat after which a run is lost: more than the 30 s between two (prefect.toml), a minute without the
server and its start, so that such a run goes on; and so few that a dead worker's run has crashed within two minutes."""


@dataclass(frozen=True)
class Deployment:
    """A flow as it is offered in the UI. `cron` is in UTC; an inactive schedule waits to be switched on.

    `alone`: one run at a time; another one waits, and asks every 30 seconds whether it is its turn.
    """

    name: str
    flow: Flow[..., Any]
    description: str
    cron: str | None = None
    active: bool = True
    alone: bool = True

    @property
    def full_name(self) -> str:
        """`flow/deployment`."""
        return f"{self.flow.name}/{self.name}"


RETRAIN = Deployment(
    "retrain",
    pipeline,
    "Brings everything up to date, from the data to the published index. DVC decides which stages run; those that "
    "need not are shown as `Cached`.\n\n"
    "- **Run → Custom run** asks for a profile, the last stage, other parameters for this run alone, and a reason.\n"
    "- A model that is worse than the published one is kept, not published; the run says why.\n"
    "- Cancel whenever you like: training saves a checkpoint, and the next run goes on from there.\n"
    f"- After {FAILURES} failures in a row the schedule is paused. Mend the cause, run once, then switch it on again.",
    cron="0 3 * * 0",
)
MONITOR = Deployment(
    "daily",
    monitor,
    "Checks the live index: whether every file and row is as published, how old it is, whether it finds what it "
    "should; and its traffic: whether it differs from the reference. The artifacts `health` and `drift` say first "
    "whether to act, and why.\n\n"
    "- Stale, or the traffic has drifted: raises the event `unimr.drift.detected`, and a retraining starts.\n"
    "- Broken: the run fails; its message says what to do.",
    cron="0 6 * * *",
)
REFRESH = Deployment(
    "nightly",
    refresh,
    "Takes new, changed and removed items live with the model as it is; nothing is trained, and only what is new is "
    "embedded. Its schedule is switched off: switch it on where the catalogue changes daily.",
    cron="0 1 * * *",
    active=False,
)
GUARD = Deployment(
    "failures",
    guard,
    f"Is started by an automation after each failed retraining. Pauses the schedule after {FAILURES} failures in a "
    f"row and raises the event `{PAUSED_EVENT}`: make an automation on it to be told.",
    alone=False,  # each looks at its own failure; in a row, the one that pauses would come a minute late
)
STUDY = Deployment(
    "claims",
    study,
    "Puts the claims to the test (docs/study.md): the unified model against variants of it and against peers, at the "
    "same budget, with several seeds. Hours; needs what `make study` installs.\n\n"
    "- The artifact `study` has the answers, and where the page is.\n"
    "- Cancel whenever you like: what was run is kept, and the next run goes on from there.",
)
DEPLOYMENTS = (RETRAIN, MONITOR, REFRESH, GUARD, STUDY)


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


def automations(client: SyncPrefectClient, ids: dict[str, UUID]) -> list[AutomationCore]:
    """What happens by itself, for deployments with these ids by full name."""
    retrain = ids[RETRAIN.full_name]
    given = client.read_deployment(retrain).parameters.get("parameters", {})
    return [_retrain_on_drift(retrain, given), _end_lost_runs(), _count_failures(retrain, ids[GUARD.full_name])]


def _retrain_on_drift(retrain: UUID, given: dict[str, Any]) -> AutomationCore:
    """`given` are the default parameters of the deployment, which a person may have changed."""
    return AutomationCore(
        name="Drift starts a retraining",
        description=f"On the event {DRIFT_EVENT}, which the flow `monitor` raises; its reason becomes the run's.",
        trigger=EventTrigger(expect={DRIFT_EVENT}, posture=Posture.Reactive, threshold=1),
        actions=[_run(retrain, {"parameters": given | {"reason": _template("{{ event.payload.reason }}")}})],
    )


def _end_lost_runs() -> AutomationCore:
    return AutomationCore(
        name="A lost run has crashed",
        description="A run that gives no sign of life any more is marked as crashed, so that the next one can start.",
        trigger=EventTrigger(
            after={HEARTBEAT},
            expect={"prefect.flow-run.*"},  # heartbeats and changes of state, which may have any name
            match={"prefect.resource.id": "prefect.flow-run.*"},
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=HEARTBEATS_LOST,
        ),
        actions=[ChangeFlowRunState(name="Crashed", state=StateType.CRASHED, force=False, message=LOST)],
    )


def _count_failures(retrain: UUID, count: UUID) -> AutomationCore:
    return AutomationCore(
        name="Failed retrainings are counted",
        description=f"Starts the flow `guard`, which pauses the schedule after {FAILURES} failures in a row.",
        trigger=EventTrigger(
            expect={"prefect.flow-run.*"},
            match={"prefect.resource.id": "prefect.flow-run.*", "prefect.state-type": ["FAILED", "CRASHED"]},
            match_related={
                "prefect.resource.role": "deployment",
                "prefect.resource.id": f"prefect.deployment.{retrain}",
            },
            posture=Posture.Reactive,
            threshold=1,
        ),
        actions=[_run(count, {"flow_run_id": _template("{{ flow_run.id }}")})],
    )


def _run(deployment: UUID, parameters: dict[str, Any]) -> RunDeployment:
    return RunDeployment(source="selected", deployment_id=deployment, job_variables=None, parameters=parameters)


def _template(text: str) -> dict[str, str]:
    return {"__prefect_kind": "jinja", "template": text}


def ensure_automation(client: SyncPrefectClient, wanted: AutomationCore) -> None:
    """Make an automation, or bring it up to date; one that a person switched off stays off.

    One that is as it should be is left alone: an update makes the server forget which runs it waits to hear of.
    """
    found = client.read_automations_by_name(wanted.name)
    if not found:
        client.create_automation(wanted)
        return
    wanted.enabled = found[0].enabled
    if found[0].model_dump(include=set(AutomationCore.model_fields)) != wanted.model_dump():
        client.update_automation(found[0].id, wanted)


def expect_signs_of_life(client: SyncPrefectClient) -> None:
    """Begin to wait for every run that is said to go on, so that one that does not is found to be lost.

    A server that dies forgets what it heard in its last seconds: that a run has begun to give signs of life, too.
    """
    going_on = FlowRunFilterStateType(any_=[StateType.RUNNING, StateType.CANCELLING])
    runs = client.read_flow_runs(flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=going_on)))
    who = [Resource({"prefect.resource.id": f"prefect.flow-run.{run.id}"}) for run in runs]
    signs = [Event(event=HEARTBEAT, resource=each) for each in who]
    client.request("POST", "/events", json=[sign.model_dump(mode="json") for sign in signs])


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
