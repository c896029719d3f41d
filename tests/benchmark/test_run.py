"""`unimr evaluate` from the command line, on a small folder and an untrained model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.data.published.conftest import jpeg
from unimr import cli
from unimr.config import load_params
from unimr.errors import UnimrError
from unimr.model.retriever import UnifiedRetriever

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two photographs with captions in two languages, a pair of sentences, an utterance, and a broken line."""
    files = {
        "Flickr8k.token.txt": "1_a.jpg#0\tA cat .\n2_a.jpg#0\tA dog .\nbroken\n",
        "Flickr8k.arabic.full.txt": "1_a.jpg#0\tقطة\n2_a.jpg#0\tكلب\n",
        "Flickr_8k.devImages.txt": "1_a.jpg\n2_a.jpg\n",
        "en-US.jsonl": json.dumps(
            {"id": "1", "locale": "en-US", "partition": "dev", "intent": "x", "utt": "hi", "annot_utt": "hi"}
        ),
    }
    for name, text in files.items():
        (tmp_path / "sets" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "sets" / name).write_text(text, encoding="utf-8")
    for name, colour in (("1_a.jpg", "red"), ("2_a.jpg", "blue")):
        (tmp_path / "sets" / name).write_bytes(jpeg(colour))
    return tmp_path / "sets"


@pytest.fixture
def root(tmp_path: Path, monkeypatch) -> Path:
    """A project folder with an untrained model."""
    root = tmp_path / "project"
    (root / "profiles").mkdir(parents=True)
    (root / "params.yaml").write_text((PROJECT / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    (root / "profiles/demo.yaml").write_text((PROJECT / "profiles/ci.yaml").read_text(encoding="utf-8"))
    UnifiedRetriever(load_params(root).model).save(root / "models/train_joint", {"languages": ["en"]})
    monkeypatch.setattr(cli, "ROOT", root)
    monkeypatch.chdir(root)
    return root


def test_a_table_and_its_json_are_written(root: Path, folder: Path):
    done = CliRunner().invoke(cli.app, ["evaluate", "--data", str(folder)])
    assert done.exit_code == 0, done.output
    assert "## flickr: caption → photograph" in done.output
    assert "Flickr8k.token.txt, line 3: not a photograph's name" in done.output
    assert "The model knows 0 of 1 intents and 0 of 0 slot labels." in done.output
    found = json.loads((root / "reports/published/dev/scores.json").read_text(encoding="utf-8"))
    rows = {(row["task"], row["lang"]): row for row in found["rows"]}
    assert rows["text_to_image", "ar"]["trained"] is False
    assert rows["text_to_image", "en"]["recall_at_5"] == 1.0  # of two photographs
    assert {"queries", "gallery", "mrr_low", "mrr_high"} <= set(rows["image_to_text", "en"])
    assert found["read"] == {"flickr": 4, "massive": 1}
    assert [record["line"] for record in found["left_out"]] == [3]


def test_whoever_asks_may_say_what_was_trained(root: Path, folder: Path):
    assert CliRunner().invoke(cli.app, ["evaluate", "--data", str(folder), "--trained", "ar, de"]).exit_code == 0
    found = json.loads((root / "reports/published/dev/scores.json").read_text(encoding="utf-8"))
    assert found["trained"] == ["ar", "de"]


def test_a_model_that_does_not_say_what_was_trained_needs_an_answer(root: Path, folder: Path):
    UnifiedRetriever(load_params(root).model).save(root / "models/silent", {})
    asked = ["evaluate", "--data", str(folder), "--model", str(root / "models/silent")]
    with pytest.raises(UnimrError, match=r"models/silent does not say which languages .* --trained en,de"):
        CliRunner().invoke(cli.app, asked, catch_exceptions=False)


def test_the_same_model_and_folder_give_the_same_bytes(root: Path, folder: Path):
    written = []
    for _ in range(2):
        assert CliRunner().invoke(cli.app, ["evaluate", "--data", str(folder)]).exit_code == 0
        written.append((root / "reports/published/dev/scores.json").read_bytes())
    assert written[0] == written[1]


def test_wrong_arguments_are_explained(root: Path, folder: Path, monkeypatch):
    monkeypatch.delenv("UNIMR_DATA", raising=False)
    for arguments, message in (
        (["--data", str(folder), "--split", "train"], "give dev or test"),
        ([], "UNIMR_DATA"),
        (["--data", str(root / "nowhere")], "There is no folder"),
        (["--data", str(folder), "--model", str(root / "models")], "There is no model"),
    ):
        with pytest.raises(UnimrError, match=message):
            CliRunner().invoke(cli.app, ["evaluate", *arguments], catch_exceptions=False)
