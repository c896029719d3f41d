from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.states import Running, Scheduled

from flows import deploy
from flows.automations import HEARTBEAT
from unimr.errors import UnimrError

from .conftest import wait_until

PROJECT = Path(__file__).parents[2]
AUTOMATIONS = ("Drift starts a retraining", "A lost run has crashed", "Failed retrainings are counted")
NAMES = {"pipeline/retrain", "monitor/daily", "refresh/nightly", "guard/failures", "study/claims"}


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    """A project folder whose parameters may be changed."""
    shutil.copy(PROJECT / "params.yaml", tmp_path)
    shutil.copytree(PROJECT / "profiles", tmp_path / "profiles")
    monkeypatch.setattr(deploy, "ROOT", tmp_path)
    return tmp_path


@pytest.fixture
def deployed(client) -> SyncPrefectClient:
    """A server with nothing but what was deployed from the project."""
    for each in client.read_deployments():
        client.delete_deployment(each.id)
    for each in client.read_automations():
        client.delete_automation(each.id)
    deploy.deploy()
    return client


def change_deploy(root: Path, **values: object) -> None:
    params = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
    params["deploy"].update(values)
    (root / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")


def test_every_deployment_is_there_as_it_is_described(deployed):
    found = {f"{deployed.read_flow(each.flow_id).name}/{each.name}": each for each in deployed.read_deployments()}
    assert set(found) == NAMES
    for each in found.values():
        assert each.tags == ["unimr"]
        assert len(each.description) > 100
        assert each.concurrency_options.collision_strategy == "ENQUEUE"
        assert each.work_pool_name == "local"
        assert each.version == deploy.code_version() != ""
    assert {name for name, each in found.items() if each.global_concurrency_limit is None} == {"guard/failures"}
    assert {each.global_concurrency_limit.limit for each in found.values() if each.global_concurrency_limit} == {1}
    schedules = {name: [(each.schedule.cron, each.active) for each in it.schedules] for name, it in found.items()}
    assert schedules == {
        "pipeline/retrain": [("0 3 * * 0", True)],
        "monitor/daily": [("0 6 * * *", True)],
        "refresh/nightly": [("0 1 * * *", False)],
        "guard/failures": [],
        "study/claims": [],
    }


def test_the_form_of_a_retraining_has_its_parameters(deployed):
    schema = deployed.read_deployment_by_name("pipeline/retrain").parameter_openapi_schema
    assert {"profile", "last_stage", "force", "overrides", "reason"} <= set(
        schema["definitions"]["PipelineParameters"]["properties"]
    )


def test_deploying_again_makes_nothing_twice(deployed):
    before = {each.id for each in deployed.read_deployments()}
    automations = {each.id: each.name for each in deployed.read_automations()}
    triggers = trigger_ids(deployed)
    deploy.deploy()
    assert {each.id for each in deployed.read_deployments()} == before
    assert {each.id: each.name for each in deployed.read_automations()} == automations
    assert sorted(automations.values()) == sorted(AUTOMATIONS)
    assert trigger_ids(deployed) == triggers  # else runs that die while the server restarts are not heard of


def trigger_ids(client: SyncPrefectClient) -> set[str]:
    return {each["trigger"]["id"] for each in client.request("POST", "/automations/filter", json={}).json()}


def test_what_a_person_changed_stays(deployed):
    retrain = deployed.read_deployment_by_name("pipeline/retrain")
    monitor = deployed.read_deployment_by_name("monitor/daily")
    given = {"parameters": {"profile": "gpu", "reason": "nights"}}
    deployed.update_deployment_schedule(retrain.id, retrain.schedules[0].id, schedule=CronSchedule(cron="5 4 * * *"))
    deployed.create_deployment_schedules(
        retrain.id, [DeploymentScheduleCreate(schedule=IntervalSchedule(interval=3600 * 50), active=False)]
    )
    deployed.update_deployment_schedule(monitor.id, monitor.schedules[0].id, active=False)
    deployed.update_deployment(retrain.id, DeploymentUpdate(parameters=given, concurrency_limit=2))
    deployed.pause_deployment(retrain.id)
    deployed.pause_automation(deployed.read_automations_by_name(AUTOMATIONS[0])[0].id)
    changed = deployed.read_deployment(retrain.id)

    deploy.deploy()

    after = deployed.read_deployment(retrain.id)
    assert [each.model_dump(exclude={"updated"}) for each in after.schedules] == [
        each.model_dump(exclude={"updated"}) for each in changed.schedules
    ]
    assert len(after.schedules) == 2
    assert (after.paused, after.parameters, after.global_concurrency_limit.limit) == (True, given, 2)
    assert not deployed.read_deployment(monitor.id).schedules[0].active
    assert not deployed.read_automations_by_name(AUTOMATIONS[0])[0].enabled


def test_schedules_that_a_person_removed_do_not_come_back(deployed):
    monitor = deployed.read_deployment_by_name("monitor/daily")
    deployed.delete_deployment_schedule(monitor.id, monitor.schedules[0].id)
    deploy.deploy()
    assert deployed.read_deployment(monitor.id).schedules == []


def test_what_the_code_says_is_brought_up_to_date(deployed):
    retrain = deployed.read_deployment_by_name("pipeline/retrain")
    deployed.update_deployment(retrain.id, DeploymentUpdate(description="old", version="old", entrypoint="old.flow"))
    deploy.deploy()
    after = deployed.read_deployment(retrain.id)
    assert (after.description, after.version, after.entrypoint) == (
        retrain.description, retrain.version, "flows.pipeline.pipeline",
    )  # fmt: skip


def test_drift_runs_with_the_parameters_a_person_gave_the_deployment(deployed):
    retrain = deployed.read_deployment_by_name("pipeline/retrain")
    deployed.update_deployment(retrain.id, DeploymentUpdate(parameters={"parameters": {"profile": "gpu"}}))
    deploy.deploy()
    action = deployed.read_automations_by_name(AUTOMATIONS[0])[0].actions[0]
    assert action.deployment_id == retrain.id
    assert action.parameters["parameters"]["profile"] == "gpu"
    assert "event.payload.reason" in str(action.parameters["parameters"]["reason"])


@pytest.mark.parametrize("kind", ["docker", "kubernetes"])
def test_a_pool_of_containers_gets_the_image_and_works_in_its_folder(deployed, root, kind):
    change_deploy(
        root, work_pool=f"of-{kind}", work_pool_type=kind, job_variables={"image": "unimr:7", "env": {"A": "b"}}
    )
    deploy.deploy()
    assert deployed.read_work_pool(f"of-{kind}").type == kind
    for each in deployed.read_deployments():
        assert each.work_pool_name == f"of-{kind}"
        assert each.job_variables == {"image": "unimr:7", "env": {"A": "b"}}
        assert [next(iter(step.values()))["directory"] for step in each.pull_steps] == ["."]


def test_a_run_that_is_said_to_go_on_has_to_give_a_sign_of_life_from_now_on(deployed):
    retrain = deployed.read_deployment_by_name("pipeline/retrain").id
    later = Scheduled(scheduled_time=datetime.now(UTC) + timedelta(days=1))
    runs = [deployed.create_flow_run_from_deployment(retrain, state=later) for _ in range(2)]
    deployed.set_flow_run_state(runs[0].id, Running(), force=True)
    deploy.deploy()

    def waited_for():
        found = {"filter": {"event": {"name": [HEARTBEAT]}}}
        events = deployed.request("POST", "/events/filter", json=found).json()["events"]
        return {each["resource"]["prefect.resource.id"] for each in events} & {f"prefect.flow-run.{x.id}" for x in runs}

    assert wait_until(lambda: waited_for() == {f"prefect.flow-run.{runs[0].id}"}, 30) < 30
    for run in runs:
        deployed.delete_flow_run(run.id)


def test_processes_work_in_the_project_folder(deployed):
    step = deployed.read_deployment_by_name("pipeline/retrain").pull_steps[0]
    assert step["prefect.deployments.steps.set_working_directory"]["directory"] == str(PROJECT)


def test_a_pool_of_another_type_is_not_taken(deployed, root):
    change_deploy(root, work_pool_type="kubernetes", job_variables={"image": "unimr:7"})
    with pytest.raises(UnimrError, match=r"'local' is of type process, .* is kubernetes\. Give deploy\.work_pool"):
        deploy.deploy()


@pytest.mark.parametrize("url", [None, "http://127.0.0.1:9/api"])
def test_without_a_server_it_says_what_to_do(url):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment |= {"PREFECT_API_URL": url} if url else {}
    done = subprocess.run(
        [sys.executable, "-m", "flows.deploy"],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ") and "make ui" in done.stderr
    assert "Traceback" not in done.stderr
