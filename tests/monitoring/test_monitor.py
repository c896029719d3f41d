"""What a look writes: page, JSON, figures, history, and Evidently's workspace."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace

import pytest

from unimr.files import read_json
from unimr.index.publish import PUBLISHED, current_version, versions_folder
from unimr.monitoring.monitor import DRIFT, FOLDER, HISTORY, LOOKED_AT, METRICS, PAGE, look, run
from unimr.monitoring.outcome import Watch, described, small
from unimr.monitoring.page import write_page
from unimr.monitoring.report import preset_alarms
from unimr.search.engine import SearchEngine

from ..index.small_index import word_encoder
from .conftest import ask, small_params, traffic_of
from .made_up import traffic

OUTSIDE = re.compile(r"""(?:src|href)=["']?(?:https?:)?//|@import|url\(["']?https?:""")


@pytest.fixture(scope="module")
def drifted(watched_root, tmp_path_factory):
    """A project in which two looks were made: a quiet one and one at a new topic."""
    root = tmp_path_factory.mktemp("drifted") / "project"
    shutil.copytree(watched_root, root, ignore=shutil.ignore_patterns("open"))
    ask(root, traffic_of(root, "none"))
    quiet = look(small_params(), root, word_encoder)
    evil = [
        replace(each, text=f"<img src=x onerror=alert(1)> {each.text}")
        for each in traffic_of(root, "new-topic", 400, 0.6)
    ]
    ask(root, evil)
    return root, quiet, look(small_params(), root, word_encoder)


def test_the_page_says_first_whether_to_act(drifted):
    root, _, seen = drifted
    page = (root / PAGE).read_text(encoding="utf-8")
    body = page[page.index("<main>") :]
    assert body.index("<h1>Act</h1>") < body.index("The traffic has changed") < body.index("What changed")
    assert body.index("What changed") < body.index("The last 2 looks") < body.index("Evidently's detail")
    assert seen.verdict == "drift"


def test_the_page_carries_everything_and_escapes_what_users_wrote(drifted):
    page = (drifted[0] / PAGE).read_text(encoding="utf-8")
    ours = page[: page.index("<iframe")]
    assert not OUTSIDE.search(ours)
    assert "<img src=x" not in page and "&lt;img src=x" in ours
    assert "data:image/png;base64," in ours
    assert "prefers-color-scheme: dark" in ours


def test_json_and_figures_say_the_same(drifted):
    root, _, seen = drifted
    told, figures = read_json(root / DRIFT), read_json(root / METRICS)
    assert told["sentence"] == seen.sentence
    assert figures["drift"] == figures["decided"] == 1
    assert figures["alarms"] == len(seen.alarms) == sum(row["alarm"] for row in told["comparisons"])
    assert told["examples"][0]["queries"][0]["results"]


def test_the_history_has_a_line_a_look(drifted):
    lines = [json.loads(line) for line in (drifted[0] / HISTORY).read_text().splitlines()]
    assert [line["verdict"] for line in lines] == ["quiet", "drift"]


def test_evidently_keeps_every_look_in_its_workspace(drifted):
    from evidently.ui.workspace import Workspace

    workspace = Workspace.create(str(drifted[0] / FOLDER / "workspace"))
    (project,) = workspace.list_projects()
    assert len(workspace.list_runs(project.id)) == 2


def test_every_example_says_of_which_language_it_is(drifted):
    root, _, seen = drifted
    alarms = sorted(seen.alarms, key=lambda row: (bool(row.lang), row.p))
    titles = [group["title"] for group in read_json(root / DRIFT)["examples"]]
    assert titles
    for row, title in zip(alarms, titles, strict=False):
        assert title.endswith(f"({row.lang})") == bool(row.lang)


def test_evidently_shows_our_p_values(drifted):
    page = (drifted[0] / PAGE).read_text(encoding="utf-8")
    assert "p of what is asked for (MMD of the embeddings)" in page[page.index("<iframe") :]


def test_the_stage_does_not_fail_without_traffic(project, monkeypatch):
    monkeypatch.setattr("unimr.monitoring.watch.SearchEngine.open", _opened_small)
    run(small_params(), project)
    assert read_json(project / METRICS)["verdict"] == "unsure"
    assert read_json(project / LOOKED_AT) == {"version": current_version(project)}
    assert "<h1>Not decided</h1>" in (project / PAGE).read_text(encoding="utf-8")
    assert (project / "published/references").exists()


def _opened_small(root, load):
    return SearchEngine(versions_folder(root) / current_version(root), root / PUBLISHED / "open", word_encoder)


def test_a_page_without_anything_published(tmp_path):
    seen = Watch("unsure", "2026-01-01T00:00:00+00:00", 0.01, problems=["There is no index."])
    write_page(tmp_path / "page.html", seen, [seen.figures() | {"checked": seen.checked}], "")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "There is no index." in page and "The last 1 look<" in page


def test_values_read_as_people_read_them(drifted):
    row = next(row for row in drifted[2].comparisons if row.measure == "zero_results")
    assert described(replace(row, reference=0.02, window=0.07, p=0.00005, lang="de")) == (
        "queries without results (de) 2.0% → 7.0% (p < 0.0001)"
    )
    assert [small(p) for p in (0.00012, 0.5)] == ["= 0.0001", "= 0.50"]


def test_evidently_presets_answer_by_name():
    said = preset_alarms(traffic(1, 300), traffic(2, 200))
    assert set(said) == {
        "any column", "half of the columns", "embeddings, MMD", "embeddings, MMD, bootstrap", "embeddings, model",
        "embeddings, ratio",
    }  # fmt: skip
