"""The flow `guard`: ends a row of failed retrainings, so that a broken pipeline does not fail week after week unseen.

Prefect's automations count events in a span of time and cannot be told that a success begins a new count, so an
automation only starts this flow for each failure, and the counting is done here.
"""

from __future__ import annotations

from uuid import UUID

from prefect import State, flow, get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterEndTime,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort
from prefect.events import emit_event
from prefect.states import Completed

from flows.ending import end_with_worker

PAUSED_EVENT = "unimr.retraining.paused"
FAILURES = 3
"""In a row, after which the schedule is paused."""


@flow(name="guard", flow_run_name="after {flow_run_id}")
def guard(flow_run_id: UUID) -> State:
    """Pause the schedule of a deployment when the given run is its third failure in a row, or the sixth, or the ninth.

    A person who resumes the schedule has three more attempts.
    """
    end_with_worker()
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(flow_run_id)
        count = failures_in_a_row(client, run)
        if run.deployment_id is None or count == 0 or count % FAILURES:
            return Completed(message=f"{count} failures in a row; the schedule is paused after {FAILURES}")
        client.pause_deployment(run.deployment_id)
    reason = f"{count} runs in a row have failed; the last, {run.name}: {run.state.message if run.state else ''}"
    resource = {"prefect.resource.id": f"prefect.deployment.{run.deployment_id}"}
    emit_event(event=PAUSED_EVENT, resource=resource, payload={"reason": reason, "flow_run_id": str(flow_run_id)})
    return Completed(name="Paused", message=f"The schedule is paused: {reason}")


def failures_in_a_row(client: SyncPrefectClient, run: FlowRun) -> int:
    """Failed and crashed runs of its deployment, from `run` back to the last success; cancelled ones do not count."""
    if run.deployment_id is None or run.end_time is None:
        return 0
    ended = client.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[run.deployment_id])),
        flow_run_filter=FlowRunFilter(end_time=FlowRunFilterEndTime(before_=run.end_time)),
        sort=FlowRunSort.END_TIME_DESC,
    )
    count = 0
    for each in ended:
        if each.state_type == StateType.COMPLETED:
            break
        count += each.state_type in (StateType.FAILED, StateType.CRASHED)
    return count
