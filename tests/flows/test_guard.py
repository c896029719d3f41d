from __future__ import annotations

from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.states import Cancelled, Completed, Crashed, Failed, State

from flows import deploy
from flows import guard as module
from flows.guard import PAUSED_EVENT, failures_in_a_row, guard

from .conftest import wait_until


@pytest.fixture
def retrain(client) -> UUID:
    """A fresh deployment `pipeline/retrain`."""
    for each in client.read_deployments():
        client.delete_deployment(each.id)
    deploy.deploy()
    return client.read_deployment_by_name("pipeline/retrain").id


def end(client: SyncPrefectClient, deployment: UUID, state: State) -> FlowRun:
    """A run of the deployment that ended in a state."""
    run = client.create_flow_run_from_deployment(deployment)
    client.set_flow_run_state(run.id, state, force=True)
    return client.read_flow_run(run.id)


def counts(client: SyncPrefectClient, deployment: UUID, states: list[State]) -> list[int]:
    """Failures in a row as each of these runs ends."""
    return [failures_in_a_row(client, end(client, deployment, state)) for state in states]


def test_the_third_failure_in_a_row_pauses_the_schedule_and_raises_the_event(client, retrain):
    for _ in range(2):
        state = guard(end(client, retrain, Failed(message="no data")).id, return_state=True)
        assert state.name == "Completed"
    assert not client.read_deployment(retrain).paused
    run = end(client, retrain, Crashed(message="power cut"))
    state = guard(run.id, return_state=True)
    assert state.name == "Paused"
    assert client.read_deployment(retrain).paused

    def events():
        answer = client.request("POST", "/events/filter", json={"filter": {"event": {"name": [PAUSED_EVENT]}}})
        return [each for each in answer.json()["events"] if each["payload"]["flow_run_id"] == str(run.id)]

    wait_until(lambda: len(events()) == 1, 30)
    assert events()[0]["payload"]["reason"] == f"3 runs in a row have failed; the last, {run.name}: power cut"
    assert events()[0]["resource"]["prefect.resource.id"] == f"prefect.deployment.{retrain}"


def test_a_success_begins_a_new_count(client, retrain):
    assert counts(client, retrain, [Failed(), Crashed(), Completed(), Failed(), Failed()]) == [1, 2, 0, 1, 2]


def test_a_cancelled_run_is_neither_a_failure_nor_a_success(client, retrain):
    assert counts(client, retrain, [Failed(), Cancelled(), Failed()])[::2] == [1, 2]


@pytest.mark.parametrize(("count", "paused"), [(3, True), (4, False), (6, True)])
def test_who_resumes_the_schedule_has_three_more_attempts(client, retrain, monkeypatch, count, paused):
    monkeypatch.setattr(module, "failures_in_a_row", lambda client, run: count)
    guard(end(client, retrain, Failed()).id, return_state=True)
    assert client.read_deployment(retrain).paused == paused


def test_failures_after_the_run_do_not_count_for_it(client, retrain):
    first = end(client, retrain, Failed())
    end(client, retrain, Failed())
    assert failures_in_a_row(client, first) == 1


def test_runs_of_other_deployments_do_not_count(client, retrain):
    end(client, client.read_deployment_by_name("monitor/daily").id, Failed())
    assert counts(client, retrain, [Failed()]) == [1]
