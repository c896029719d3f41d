from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from prefect.artifacts import Artifact
from prefect.testing.utilities import prefect_test_harness

from flows.dvc import StageRun
from flows.refresh import STAGES, RefreshParameters, refresh, report
from tests.system.checkout import Project
from unimr.files import sha256_of
from unimr.index.changes import ItemChanges

OWN = Path("own/catalogue.jsonl")
WORDS = ("teal", "mauve", "ochre", "beige", "khaki", "coral", "ivory", "amber", "olive", "lilac")


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=180):  # a busy machine takes its time
        yield


@pytest.fixture
def trained(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy of the trained project that takes in imported items, as the current folder."""
    copy = Project(tmp_path / "project")
    shutil.copytree(project.root, copy.root, symlinks=True, ignore=shutil.ignore_patterns("cache"))  # DVC's: big
    params = copy.root / "params.yaml"
    params.write_text(params.read_text("utf-8").replace("sources: [emoji]", "sources: [emoji, import]"), "utf-8")
    monkeypatch.chdir(copy.root)
    return copy


def own_items(names: dict[str, str]) -> None:
    """Write a catalogue: item_id → English name, each with a picture of its own."""
    OWN.parent.mkdir(exist_ok=True)
    for item in names:
        colours = np.random.default_rng([*item.encode()]).integers(0, 256, (4, 4, 3), np.uint8)
        Image.fromarray(colours).resize((64, 64), Image.Resampling.NEAREST).save(OWN.parent / f"{item}.png")
    lines = [
        {
            "item_id": item,
            "attributes": {"category": "Kitchen"},
            "texts": [{"lang": "en", "role": "name", "text": name}, {"lang": "en", "role": "keyword", "text": "jar"}],
            "pictures": [{"style": "drawing", "path": f"{item}.png"}],
        }
        for item, name in names.items()
    ]
    OWN.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")


def run(file: str = "") -> tuple[str, str]:
    """Name and message of the state a refresh ends in."""
    state = refresh(RefreshParameters(file=file), return_state=True)
    return state.name, state.message


def found(project: Project, text: str) -> list[tuple[str, str]]:
    answer = json.loads(project.run("unimr", "search", text, "--json", "--lang", "en").stdout)
    return [(hit["item_id"], hit["english"]) for hit in answer["hits"]]


def artifact() -> str:
    return Artifact.get("refresh").data


def test_items_that_were_added_changed_and_removed_are_live_without_training(trained: Project) -> None:
    weights = sha256_of(Path("models/train_joint/model.safetensors"))
    names = {f"jar-{word}": f"{word} jam jar" for word in WORDS}
    own_items(names)
    name, message = run(str(OWN))
    assert name == "Completed" and message.startswith("Items added: 10, changed: 0, removed: 0. Ran prepare, ")
    assert "| images encoded | 10 |" in artifact() and "| texts encoded | 20 |" in artifact()
    assert found(trained, "ochre jam jar")[0] == ("jar-ochre", "ochre jam jar")
    seen = json.loads(trained.run("unimr", "search", "--image", "own/jar-lilac.png", "--json").stdout)
    assert seen["hits"][0]["item_id"] == "jar-lilac"

    names["jar-teal"] = "turquoise biscuit tin"
    del names["jar-ochre"]
    own_items(names)
    _, message = run(str(OWN))
    assert message.startswith("Items added: 0, changed: 1, removed: 1.")
    assert "`jar-teal`" in artifact() and "| texts encoded | 2 |" in artifact()
    assert found(trained, "turquoise biscuit tin")[0] == ("jar-teal", "turquoise biscuit tin")
    assert "jar-ochre" not in {item for item, _ in found(trained, "ochre jam jar")}

    _, message = run()
    assert message.startswith("Items added: 0, changed: 0, removed: 0. Nothing had changed; version")
    assert "the stage `embed` is unchanged" in artifact()
    assert sha256_of(Path("models/train_joint/model.safetensors")) == weights
    changed = json.loads(trained.run("dvc", "status", "--json").stdout).keys()
    assert changed >= {"train_image", "train_text", "train_nlu", "train_joint"} and not changed & {*STAGES}


def test_a_file_that_breaks_the_format_changes_nothing(trained: Project) -> None:
    live = Path("published/current.json").read_text("utf-8")
    OWN.parent.mkdir()
    OWN.write_text('{"item_id": "a b"}\n', "utf-8")
    name, message = run(str(OWN))
    assert name == "Failed" and "line 1" in message and "docs/own-data.md" in message
    assert not Path("data/import/catalogue").exists()
    assert Path("published/current.json").read_text("utf-8") == live


def test_a_file_that_would_not_be_used_is_refused(trained: Project) -> None:
    params = trained.root / "params.yaml"
    params.write_text(params.read_text("utf-8").replace("[emoji, import]", "[emoji]"), "utf-8")
    own_items({"a": "jar"})
    name, message = run(str(OWN))
    assert name == "Failed" and "prepare.sources" in message
    assert not Path("data/import/catalogue").exists()


def test_without_a_model_it_says_what_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name, message = run()
    assert name == "Failed" and "Run the flow `pipeline` first" in message


def test_the_report_names_the_first_items_and_what_was_restored(tmp_path: Path) -> None:
    runs = [StageRun(stage, "restored", 0.5) for stage in ("embed", "index")]
    changes = ItemChanges([f"item-{number:02d}" for number in range(12)], [], [])
    text = report(tmp_path, changes, runs, "Kept, not published: mrr fell", "abc")
    assert text.startswith("**Kept, not published: mrr fell**\n") and text.endswith("before this run: abc")
    assert "`item-09` and 2 more" in text and "`item-10`" not in text
    assert "| encoded | 0 | the stage `embed` is restored |" in text
