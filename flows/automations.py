"""What happens by itself on the Prefect server: a retraining on drift, the end of lost runs, the count of failures."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import StateType
from prefect.events import AutomationCore, Event, EventTrigger, Resource
from prefect.events.actions import ChangeFlowRunState, RunDeployment
from prefect.events.schemas.automations import Posture

from flows.deployments import GUARD, RETRAIN
from flows.guard import FAILURES
from flows.monitor import DRIFT_EVENT

LOST = "No sign of life: the worker, its machine or the network is gone"
HEARTBEAT = "prefect.flow-run.heartbeat"
HEARTBEATS_LOST = timedelta(seconds=105)
"""Without a heartbeat after which a run is lost: more than the 30 s between two (prefect.toml), a minute without the
server and its start, so that such a run goes on; and so few that a dead worker's run has crashed within two minutes."""


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
