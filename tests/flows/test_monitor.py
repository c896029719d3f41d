from __future__ import annotations

import functools
import os
import shutil
from pathlib import Path

import pytest
from prefect.artifacts import Artifact
from prefect.client.orchestration import SyncPrefectClient

from flows import monitor as module
from flows.monitor import DRIFT_EVENT, monitor
from unimr.files import read_json
from unimr.index.publish import current_version, versions_folder
from unimr.monitoring.health import check_health
from unimr.monitoring.monitor import look

from ..index.small_index import word_encoder
from ..monitoring.conftest import ask, traffic_of, write_published
from .conftest import wait_until


@pytest.fixture(scope="module")
def published_root(tmp_path_factory) -> Path:
    return write_published(tmp_path_factory.mktemp("published"))


@pytest.fixture
def root(server, published_root, tmp_path, monkeypatch) -> Path:
    """A project with a small live index, as the current folder."""
    shutil.copytree(published_root, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setattr(module, "check_health", functools.partial(check_health, load=word_encoder))
    monkeypatch.setattr(module, "look", functools.partial(look, load=word_encoder))
    return tmp_path / "project"


def drift_events(client: SyncPrefectClient) -> list[dict]:
    answer = client.request("POST", "/events/filter", json={"filter": {"event": {"name": [DRIFT_EVENT]}}})
    return answer.json()["events"]


def test_a_healthy_index_asks_for_nothing(root, client):
    before = len(drift_events(client))
    state = monitor(return_state=True)
    sentence = read_json(root / "reports/monitoring/health.json")["sentence"]
    assert sentence.startswith("Nothing to do: ")
    assert state.name == "Completed"
    assert state.message == f"Index. {sentence} Traffic. Not decided: There is no query log logs/queries.db yet: " + (
        "nothing was asked, or it is not kept."
    )
    artifact = Artifact.get("health")
    assert artifact.data.startswith(f"**{sentence}**")
    assert artifact.description == sentence
    assert Artifact.get("drift").description.startswith("Not decided: ")
    assert len(drift_events(client)) == before


def test_traffic_that_has_changed_raises_the_event_with_its_reason(root, client):
    ask(root, traffic_of(root, "new-topic", 400))
    before = len(drift_events(client))
    state = monitor(return_state=True)
    assert state.name == "Completed"
    assert "Traffic. Act: The traffic has changed: " in state.message
    wait_until(lambda: len(drift_events(client)) > before, 30)
    reason = drift_events(client)[0]["payload"]["reason"]
    assert reason.startswith("The traffic has changed: ") and "letter sequences" in reason
    artifact = Artifact.get("drift")
    assert artifact.data.startswith("**Act: ") and "| **changed** |" in artifact.data


def test_traffic_like_the_reference_asks_for_nothing(root, client):
    ask(root, traffic_of(root, "none", 400))
    before = len(drift_events(client))
    assert "Traffic. Nothing to do: 400 queries" in monitor(return_state=True).message
    assert len(drift_events(client)) == before


def test_a_stale_index_raises_the_event_with_its_reason(root, client):
    os.utime(root / "published/current.json", (0, 0))
    before = len(drift_events(client))
    state = monitor(return_state=True)
    assert state.name == "Completed"
    sentence = read_json(root / "reports/monitoring/health.json")["sentence"]
    assert sentence.startswith("Retrain: It is ") and sentence in state.message
    wait_until(lambda: len(drift_events(client)) > before, 30)  # the server writes events down in batches
    event = drift_events(client)[0]
    assert event["resource"]["prefect.resource.id"] == "unimr.retrieval"
    assert event["payload"]["reason"] == sentence.removeprefix("Retrain: ")
    assert event["payload"]["version"] == current_version(root)


def test_a_broken_index_fails_the_run_and_says_what_to_do(root, client):
    before = len(drift_events(client))
    (versions_folder(root) / current_version(root) / "items.json").write_text("{}")
    state = monitor(return_state=True)
    assert state.is_failed()
    assert state.message.startswith("Act now: ")
    assert "items.json" in state.message and "unimr rollback" in state.message
    assert read_json(root / "reports/monitoring/health.json")["verdict"] == "broken"
    assert Artifact.get("health").description == state.message
    assert len(drift_events(client)) == before
