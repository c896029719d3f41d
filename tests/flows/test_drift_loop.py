"""Drift, retraining, silence: the whole loop with real processes. Slow: a pipeline and a half of profile `ci`."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import yaml
from PIL import Image, ImageDraw
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import FlowRunSort

from tests.system.checkout import Project, checkout, commit
from unimr.monitoring.scenarios import TOPIC

from .conftest import Factory, free_port, start_ui, wait_until

LANGUAGES = ["en", "de", "es", "fr"]
"""Those that the topic is asked for in."""


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    made = checkout(tmp_path_factory.mktemp("loop"))
    profile = made.root / "profiles/ci.yaml"
    values = yaml.safe_load(profile.read_text())
    values["prepare"]["languages"] = LANGUAGES
    # The gate is not what is tested here, and models of a minute differ by more than it tolerates.
    values["index"] = {"gate": {"tolerance": dict.fromkeys(tolerances(made.root), 1.0)}}
    profile.write_text(yaml.safe_dump(values))
    commit(made)
    made.run("dvc", "repro")
    commit(made)
    return made


def tolerances(root: Path) -> list[str]:
    return list(yaml.safe_load((root / "params.yaml").read_text())["index"]["gate"]["tolerance"])


@pytest.fixture(scope="module")
def factory(project):
    made = start_ui(project.root)
    yield made
    made.stop(15)


@pytest.fixture(scope="module")
def service(project):
    """The address of `unimr serve` in the project."""
    url = f"http://127.0.0.1:{free_port()}"
    with (project.root / "serve.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "unimr.cli", "serve", "--port", url.rpartition(":")[2]],
            cwd=project.root, env={**os.environ, "PYTHONPATH": str(project.root)}, stdout=log, stderr=log,
        )  # fmt: skip
    wait_until(lambda: live(url) != "", 120)
    yield url
    process.terminate()
    process.wait(30)


def live(url: str) -> str:
    """The index version that the service answers with; empty while it does not answer."""
    try:
        return httpx.get(f"{url}/readyz").json().get("index", "")
    except httpx.HTTPError:
        return ""


def ask(project: Project, url: str, scenario: str, seed: int) -> None:
    given = ("--url", url, "--queries", "600", "--share", "0.2", "--seed", str(seed))
    project.run("unimr", "simulate", "--scenario", scenario, *given)
    time.sleep(2)  # the query log writes what waits


def monitored(factory: Factory) -> FlowRun:
    """A run of the deployment `monitor/daily`, ended."""
    with factory.client() as client:
        deployment = client.read_deployment_by_name("monitor/daily")
        run = client.create_flow_run_from_deployment(deployment.id)
        wait_until(lambda: client.read_flow_run(run.id).state.is_final(), 300)
        return client.read_flow_run(run.id)


def retrainings(factory: Factory) -> list[FlowRun]:
    with factory.client() as client:
        deployment = client.read_deployment_by_name("pipeline/retrain")
        runs = client.read_flow_runs(sort=FlowRunSort.EXPECTED_START_TIME_ASC)
        return [run for run in runs if run.deployment_id == deployment.id and not run.auto_scheduled]


def import_topic(project: Project) -> None:
    """The items of the topic, each with two pictures, as a catalogue of one's own beside the default one."""
    folder = project.root / "minerals"
    folder.mkdir()
    names = yaml.safe_load(TOPIC.read_text(encoding="utf-8"))["names"]
    lines = []
    for number, item in enumerate(names["en"]):
        for turn in range(2):
            (folder / f"{item}-{turn}.png").write_bytes(stone(number, turn))
        texts = [{"lang": lang, "role": "name", "text": names[lang][item]} for lang in LANGUAGES]
        pictures = [{"style": "photo", "path": f"{item}-{turn}.png"} for turn in range(2)]
        line = {
            "item_id": f"mineral-{item}",
            "attributes": {"category": "Minerals"},
            "texts": texts,
            "pictures": pictures,
        }
        lines.append(json.dumps(line))
    (folder / "catalogue.jsonl").write_text("\n".join(lines))
    project.run("unimr", "import", "minerals/catalogue.jsonl")
    params = project.root / "params.yaml"
    params.write_text(params.read_text().replace("sources: [emoji]", "sources: [emoji, import]"))


def stone(number: int, turn: int) -> bytes:
    picture = Image.new("RGB", (64, 64), "white")
    colour = (37 * number % 256, 91 * number % 256, 151 * number % 256)
    corners = [
        (10 + number % 7, 30),
        (28, 8 + number % 11),
        (54, 20 + 3 * turn),
        (50 - number % 5, 52),
        (20, 56 - turn),
    ]
    ImageDraw.Draw(picture).polygon(corners, fill=colour, outline="black")
    data = io.BytesIO()
    picture.save(data, format="PNG")
    return data.getvalue()


@pytest.mark.slow
def test_drift_starts_a_retraining_and_the_next_window_is_quiet(project, factory, service):
    before = live(service)
    ask(project, service, "none", 1)
    run = monitored(factory)
    assert "Traffic. Nothing to do: " in run.state.message, run.state.message
    assert retrainings(factory) == []

    import_topic(project)  # what was asked for has come into the catalogue; no one has retrained yet
    ask(project, service, "new-topic", 2)
    drifted = monitored(factory)
    assert "Traffic. Act: The traffic has changed: " in drifted.state.message, drifted.state.message
    wait_until(lambda: len(retrainings(factory)) > 0, 300)

    def ended() -> bool:
        return retrainings(factory)[0].state.is_final()

    wait_until(ended, 1800)
    done = retrainings(factory)[0]
    assert done.state.name == "Completed", done.state.message
    assert "The traffic has changed" in done.name  # the reason, which came with the event
    wait_until(lambda: live(service) not in ("", before), 60)

    ask(project, service, "none", 3)
    ask(project, service, "new-topic", 4)
    quiet = monitored(factory)
    assert "Traffic. Nothing to do: " in quiet.state.message, quiet.state.message
    assert len(retrainings(factory)) == 1
    for each in (run, drifted, done, quiet):
        sys.stdout.write(f"{each.id} {each.name}: {each.state.name}, {each.state.message}\n")
