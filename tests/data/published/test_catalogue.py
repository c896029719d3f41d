"""Published data sets as the tables of the pipeline."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from tests.data.small_sources import PROJECT, params
from unimr.data import prepare
from unimr.data.tables import SCHEMAS, read_table
from unimr.files import read_json
from unimr.params import DataParams, SourceParams

from .conftest import jpeg


def massive(number: int, text: str, annotated: str, partition: str = "train", intent: str = "greet") -> str:
    values = {"id": str(number), "locale": "en-US", "partition": partition, "intent": intent}
    return json.dumps(values | {"utt": text, "annot_utt": annotated})


FILES = {
    "Flickr8k.token.txt": "1_a.jpg#0\tA red wall .\n1_a.jpg#1\tA wall .\n2_a.jpg#0\tA blue wall .\n"
    "3_a.jpg#0\tA green wall .\n3_a.jpg#1\tA blue wall .\n4_a.jpg#0\tof no photograph\nbroken\n"
    "6_a.jpg#0\tof a held-out one that is not there\n",
    "Flickr_8k.devImages.txt": "2_a.jpg\n6_a.jpg\n",
    "Flickr_8k.testImages.txt": "5_a.jpg\n",
    "Flickr8k.arabic.full.txt": "1_a.jpg#0\tجدار\n",
    "en-US.jsonl": "\n".join(
        [
            massive(1, "hello you", "hello [person : you]"),
            massive(2, "hello", "hello", "dev"),
            massive(3, "hello", "hello"),  # the same text as a held-out one
            massive(4, "goodbye", "good[thing : bye]"),  # cuts a word
            massive(5, "later", "later", "test"),
        ]
    ),
    "xquad/xquad.en.json": json.dumps(
        {"data": [{"paragraphs": [{"context": "On walls. " * 50, "qas": [{"id": "q", "question": "What?"}]}]}]}
    ),
}


@pytest.fixture
def tables(tmp_path: Path, monkeypatch) -> dict[str, pd.DataFrame]:
    """The tables made of a small folder."""
    for name, text in FILES.items():
        path = tmp_path / "sets" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for number, colour in enumerate(("red", "blue", "green"), start=1):
        (tmp_path / "sets" / f"{number}_a.jpg").write_bytes(jpeg(colour))
    monkeypatch.setenv("UNIMR_DATA", str(tmp_path / "sets"))
    sources = [SourceParams(name=name, weight=2.0) for name in ("flickr", "massive", "xquad")]
    base = params()
    prepared = base.prepare.model_copy(
        update={"sources": ["published"], "languages": ["en"], "untrained_languages": [], "unseen_styles": []}
    )
    data = DataParams(root="", sources=sources, language_temperature=0.5)
    prepare.run(base.model_copy(update={"prepare": prepared, "data": data}), tmp_path)
    folder = tmp_path / "data/prepared"
    return {name: read_table(folder, name) for name in SCHEMAS} | {"folder": folder}


def test_photographs_keep_their_official_split(tables):
    images = tables["images"]
    assert dict(zip(images["item_id"], images["split"], strict=True)) == {
        "flickr:1": "train",
        "flickr:2": "test_item",
        "flickr:3": "train",
    }


def test_captions_questions_and_paragraphs_have_the_roles_of_the_tables(tables):
    texts = tables["texts"]
    found = {(row.item_id, row.role, row.text[:12], row.split) for row in texts.itertuples() if ":1" in row.item_id}
    assert ("flickr:1", "name", "A red wall .", "train") in found
    assert ("flickr:1", "keyword", "A wall .", "train") in found
    of_paragraph = texts[texts["item_id"] == "xquad:q"]
    assert dict(zip(of_paragraph["role"], of_paragraph["kind"], strict=True)) == {
        "name": "short",
        "description": "long",
    }


def test_what_is_held_out_is_not_trained(tables):
    texts, utterances = tables["texts"], tables["utterances"]
    assert list(texts.loc[texts["text"] == "A blue wall .", "split"]) == ["test_item"]  # not as a caption of flickr:3
    assert dict(zip(utterances["text"], utterances["split"], strict=True)) == {"hello": "test", "hello you": "train"}
    queries = tables["queries"].merge(tables["qrels"], on="query_id")
    assert ("unseen_item_to_image", "flickr:2") in set(zip(queries["task"], queries["item_id"], strict=True))


def test_a_train_caption_is_there_without_its_photograph_and_no_query_asks_for_that(tables):
    texts, queries = tables["texts"], tables["queries"].merge(tables["qrels"], on="query_id")
    assert list(texts.loc[texts["item_id"] == "flickr:4", "split"]) == ["train"]
    assert not (texts["item_id"] == "flickr:6").any()
    asked = queries[queries["task"].str.endswith("_to_image")]
    assert set(asked["item_id"]) == set(tables["images"]["item_id"])


def test_labels_mixture_and_what_was_left_out_are_written(tables):
    folder = tables["folder"]
    assert read_json(folder / "labels.json") == {"intents": ["greet"], "slots": ["person"]}
    assert read_json(folder / "mixture.json")["weights"] == {"flickr": 2.0, "massive": 2.0, "xquad": 2.0}
    assert [(one["file"], one["line"]) for one in read_json(folder / "left_out.json")] == [("Flickr8k.token.txt", 7)]
    card = (folder.parent / "README.md").read_text(encoding="utf-8")
    assert "| held-out caption of a photograph that is not there | 1 |" in card
    assert "| utterance with a slot that cuts a word | 1 |" in card


def test_published_sets_stand_alone():
    with pytest.raises(ValueError, match="stands alone"):
        params().prepare.model_validate({**params().prepare.model_dump(), "sources": ["emoji", "published"]})
    assert (PROJECT / "profiles/photos.yaml").exists()
