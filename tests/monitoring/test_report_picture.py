"""What the report on drift looks like with the trained model: with `--pictures FOLDER` it is kept (`make pictures`)."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from tests.bench.site import scratch, served
from unimr.config import load_params
from unimr.errors import UnimrError
from unimr.index.embed import TABLES
from unimr.monitoring.monitor import PAGE, look
from unimr.monitoring.scenarios import Pool, play
from unimr.monitoring.simulate import send

from ..index.small_index import PROJECT
from ..service.visitor import DESKTOP, chromium, needs_chromium

QUERIES = 800


@pytest.mark.slow
@needs_chromium
def test_the_report_says_first_what_to_do(request, tmp_path):
    folder = request.config.getoption("--pictures")
    if folder is None:
        pytest.skip("no --pictures FOLDER to keep it in")
    try:
        root = scratch(PROJECT, tmp_path)
    except UnimrError as error:
        pytest.skip(str(error))
    shutil.rmtree(root / "reports", ignore_errors=True)
    with served(root) as site:
        for number, scenario in enumerate(("none", "new-topic")):
            asked = play(scenario, Pool.load(root / TABLES), QUERIES, 0.2, number)
            send(f"http://127.0.0.1:{site.port}", asked, scenario)
            time.sleep(2)  # the query log writes what waits
            seen = look(load_params(root), root, take_over=scenario == "none")
    assert seen.verdict == "drift"
    Path(folder).mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        page = browser.new_page(viewport=DESKTOP | {"height": 1000})
        page.goto((root / PAGE).as_uri())
        assert page.locator("h1, h2, p").first.inner_text()
        page.screenshot(path=Path(folder) / "drift-report.png")
