"""The operator's page in a real browser: run with a form, see what was cached, read artifacts, change a schedule.

`--pictures FOLDER` keeps what the browser saw; `make pictures` makes those in docs/pictures anew.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.system.checkout import Project

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
START_SECONDS, RUN_SECONDS, PAGE_SECONDS = 240, 900, 30
"""A busy machine takes its time."""
WIDTH, HEIGHT = 1200, 760
"""Of the page, in pixels."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine: apt-get install chromium"),
]


class Operator:
    """A person at the page: what is clicked, what is seen, and every address that was asked for something."""

    def __init__(self, url: str, browser, pictures: Path) -> None:
        self.url, self.pictures = url, pictures
        self.page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        self.page.set_default_timeout(PAGE_SECONDS * 1000)
        self.asked: set[str] = set()
        self.page.context.on("request", lambda request: self.asked.add(request.url))
        self.page.on("websocket", lambda socket: self.asked.add(socket.url))
        pictures.mkdir(parents=True, exist_ok=True)

    def open(self, path: str) -> None:
        self.page.goto(f"{self.url}{path}")

    def sees(self, text: str, exact: bool = False, seconds: float = PAGE_SECONDS) -> None:
        found = self.page.get_by_text(text, exact=exact).filter(visible=True).first
        playwright.expect(found).to_be_visible(timeout=seconds * 1000)

    def clicks(self, text: str, role: str = "button") -> None:
        self.page.get_by_role(role, name=text, exact=True).first.click()

    def chooses(self, text: str) -> None:
        """Choose an entry of an open menu, or a tab."""
        self.page.get_by_text(text, exact=True).filter(visible=True).last.click()

    def waits_for_a_worker(self) -> None:
        """Open the deployments, again and again until they are ready to run."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            self.open("/deployments")
            self.sees("retrain", exact=True)
            self.page.wait_for_timeout(2000)
            if not self.page.get_by_text("Not Ready").count():
                return
        raise AssertionError("no worker")

    def opens_deployment(self, name: str) -> None:
        self.open("/deployments")
        self.clicks(name, role="link")
        self.sees("Work Pool")

    def opens_artifact(self, key: str) -> None:
        """Open the newest artifact of a kind."""
        self.open(f"/artifacts/key/{key}")
        self.page.locator("a[href*='/artifacts/artifact/']").first.click()

    def field(self, label: str):
        """The innermost part of a form with this label."""
        return self.page.locator(".p-label", has=self.page.get_by_text(label, exact=True)).last

    def keeps(self, name: str, height: int = HEIGHT) -> None:
        """Keep a picture of the page, of this height in pixels."""
        self.page.set_viewport_size({"width": WIDTH, "height": height})
        self.page.wait_for_load_state("networkidle")
        self.page.wait_for_timeout(700)  # panels slide in
        self.page.mouse.wheel(0, -10 * height)
        self.page.screenshot(path=self.pictures / f"{name}.png")
        self.page.set_viewport_size({"width": WIDTH, "height": HEIGHT})


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return trial.getsockname()[1]


@pytest.fixture(scope="module")
def factory(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Project, str]]:
    """`make ui` in a copy of the trained project, and the address of its page."""
    copy = Project(tmp_path_factory.mktemp("factory") / "project")
    shutil.copytree(project.root, copy.root, symlinks=True)
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment |= {"PREFECT_SERVER_API_PORT": str(port), "PYTHONUNBUFFERED": "1"}
    with (copy.root / "ui.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.ui"], cwd=copy.root, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            wait_for_line(copy.root / "ui.log", "Ready after", process)
            yield copy, f"http://127.0.0.1:{port}"
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)


def wait_for_line(log: Path, text: str, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + START_SECONDS
    while text not in log.read_text("utf-8"):
        assert process.poll() is None and time.monotonic() < deadline, log.read_text("utf-8")
        time.sleep(0.3)


@pytest.fixture(scope="module")
def operator(factory, tmp_path_factory, request) -> Iterator[Operator]:
    folder = request.config.getoption("--pictures") or tmp_path_factory.mktemp("pictures")
    with playwright.sync_playwright() as driver:
        # Nothing but this machine has a name here: what the page asks elsewhere is noted, and cannot be answered.
        rules = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=[rules])
        yield Operator(factory[1], browser, Path(folder))
        browser.close()


def test_the_deployments_page_offers_every_flow(operator: Operator) -> None:
    operator.waits_for_a_worker()
    for name in ("retrain", "daily", "nightly", "failures"):
        operator.sees(name, exact=True)
    assert "5 Deployments" in operator.page.inner_text("body")
    operator.keeps("deployments")


def test_a_run_is_submitted_with_the_form_and_shows_what_was_cached(operator: Operator) -> None:
    operator.opens_deployment("retrain")
    operator.clicks("Run")
    operator.chooses("Custom run")
    operator.field("Reason (Optional)").locator("textarea").fill("half the steps")
    operator.field("Overrides (Optional)").locator("textarea").fill('{"train_joint.steps": 25}')
    profile = operator.field("Profile (Optional)").locator("button").last
    profile.focus()
    profile.press("Space")
    operator.chooses("ci")
    operator.keeps("run-form", height=1260)
    operator.clicks("Submit")
    operator.chooses("View run")

    operator.sees("Kept", exact=True, seconds=RUN_SECONDS)  # the gate: half the steps make a worse model
    operator.page.reload()
    operator.sees("half the steps")
    operator.chooses("Task Runs")
    operator.sees("(11 Completed)")
    playwright.expect(operator.page.get_by_text("Cached", exact=True)).to_have_count(6)
    operator.keeps("run", height=1240)


def test_the_artifacts_of_the_run_can_be_read(operator: Operator) -> None:
    operator.open("/artifacts")
    for key in ("metrics", "reports", "result-sheet", "train-joint"):
        operator.sees(key, exact=True)
    operator.opens_artifact("metrics")
    operator.sees("published before this run")
    operator.keeps("artifact-metrics", height=1000)
    operator.opens_artifact("result-sheet")
    sheet = operator.page.locator("img[src^='data:image/jpeg']").first
    playwright.expect(sheet).to_be_visible()
    assert sheet.evaluate("picture => picture.naturalWidth") > 400


def test_a_schedule_that_was_changed_here_survives_a_redeploy(operator: Operator, factory) -> None:
    project, url = factory
    operator.opens_deployment("retrain")
    change = "30 4 * * 6"
    edit_schedule(operator, "retrain")
    value = operator.field("Value").locator("input")
    assert value.input_value() == "0 3 * * 0"
    value.fill(change)
    operator.sees("At 04:30 AM, only on Saturday")
    operator.keeps("schedule")
    operator.clicks("Save")
    playwright.expect(operator.page.get_by_text("Edit schedule")).not_to_be_visible()
    environment = os.environ | {"PREFECT_API_URL": f"{url}/api"}
    subprocess.run([sys.executable, "-m", "flows.deploy"], cwd=project.root, env=environment, check=True)
    operator.opens_deployment("retrain")
    edit_schedule(operator, "retrain")
    assert operator.field("Value").locator("input").input_value() == change


def edit_schedule(operator: Operator, name: str) -> None:
    card = operator.page.locator(".deployment-schedule-card", has_text=name).filter(visible=True).first
    card.locator("button").last.click()
    operator.chooses("Edit")
    operator.sees("Edit schedule")


def test_the_page_asks_nothing_of_anybody_else(operator: Operator) -> None:
    assert len(operator.asked) > 50
    elsewhere = {url for url in operator.asked if urlsplit(url).hostname not in ("127.0.0.1", None)}
    assert elsewhere == set()
