"""Published data sets through the whole pipeline, small: from their files to a model that is measured on them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.data.published.conftest import jpeg
from unimr.benchmark.run import evaluate_folder
from unimr.config import load_params
from unimr.files import read_json
from unimr.model.retriever import UnifiedRetriever
from unimr.stages import run_stage
from unimr.training.corpus import Items
from unimr.training.joint_task import JointTask
from unimr.training.losses.proxy import ProxyLoss
from unimr.training.stages import joint_data

from .small_project import PROJECT, TINY, TRAINING

COLOURS = ["red", "green", "blue", "yellow", "white", "black", "orange", "purple", "brown", "pink", "gray", "cyan"]
GERMAN = [
    "rote",
    "grüne",
    "blaue",
    "gelbe",
    "weiße",
    "schwarze",
    "orange",
    "lila",
    "braune",
    "rosa",
    "graue",
    "türkise",
]
PUBLISHED = {
    "data": {"sources": [{"name": name} for name in ("flickr", "multi30k", "massive", "tatoeba")]},
    "prepare": {
        "sources": ["published"],
        "languages": ["en", "de"],
        "untrained_languages": [],
        "unseen_styles": [],
        "image_size": 16,
    },
    "validate": {"suites": "expectations/published", "max_quarantined_share": 0.5},
}


def utterance(number: int, locale: str, music: str, words: str) -> str:
    partition = "dev" if number % 5 == 0 else "train"
    text, annotated = f"{words} {music}", f"{words} [artist : {music}]"
    values = {"id": str(number), "locale": locale, "partition": partition, "intent": "play_music"}
    return json.dumps(values | {"utt": text, "annot_utt": annotated})


def write_sets(folder: Path) -> None:
    """Twelve photographs with captions in two languages, utterances with one intent and slot, and a few sentences."""
    lines = {
        "Flickr8k.token.txt": [f"{n}_a.jpg#0\ta {colour} wall" for n, colour in enumerate(COLOURS)],
        "Flickr_8k.devImages.txt": ["0_a.jpg", "1_a.jpg"],
        "task1/image_splits/train.txt": [f"{n}.jpg" for n in range(len(COLOURS))],
        "task1/raw/train.de": [f"eine {colour} Wand" for colour in GERMAN],
        "en-US.jsonl": [utterance(n, "en-US", colour, "please play") for n, colour in enumerate(COLOURS)],
        "de-DE.jsonl": [utterance(n, "de-DE", colour, "bitte spiele") for n, colour in enumerate(GERMAN)],
        "tatoeba.deu-eng.deu": [f"Das ist {n}." for n in range(20)],
        "tatoeba.deu-eng.eng": [f"This is {n}." for n in range(20)],
    }
    for name, of_file in lines.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("".join(f"{line}\n" for line in of_file), encoding="utf-8")
    for number, colour in enumerate(COLOURS):
        (folder / f"{number}_a.jpg").write_bytes(jpeg(colour))


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A project that has run up to stage `train_joint` on these sets."""
    root = tmp_path_factory.mktemp("published")
    write_sets(root / "sets")
    (root / "profiles").mkdir()
    pairs = {"proxy_weight": 0.0, "contrast_weight": 1.0, "window_words": 8}
    stages = {
        "train_text": TINY["train_text"] | pairs | {"image_weight": 0.0},
        "train_joint": TINY["train_joint"] | pairs | {"caption_weight": 1.0, "captions": 2, "image_weight": 0.0},
    }
    (root / "profiles/tiny.yaml").write_text(yaml.safe_dump(TINY | PUBLISHED | stages))
    params = (PROJECT / "params.yaml").read_text(encoding="utf-8").replace("profile: demo", "profile: tiny", 1)
    (root / "params.yaml").write_text(params.replace('root: ""', "root: sets", 1), encoding="utf-8")
    shutil.copytree(PROJECT / "expectations", root / "expectations")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("UNIMR_DATA", raising=False)
        for stage in ("prepare", "validate", *TRAINING):
            run_stage(stage, root)
    return root


def test_texts_without_a_picture_are_trained_too(root):
    items = Items.read(root / "data/validated")
    texts = len(items.item_ids) - items.pictured
    assert [item.partition(":")[0] for item in items.item_ids] == ["flickr"] * items.pictured + ["tatoeba"] * texts
    assert items.pictured == 10
    assert texts > 10


def test_the_model_knows_the_labels_of_the_data(root):
    model = UnifiedRetriever.load(root / "models/train_joint")
    assert (model.nlu.labels.intents, model.nlu.labels.slots) == (("play_music",), ("artist",))
    assert model.understand(["please play red"])[0].intent == "play_music"


def test_two_captions_of_each_photograph_are_contrasted(root):
    params = load_params(root)
    retriever = UnifiedRetriever.load(root / "models/train_joint")
    items = Items.read(root / "data/validated")
    proxies = ProxyLoss(len(items.item_ids), params.model.dim, params.model.matryoshka_dims)
    task = JointTask(params.train_joint, retriever, proxies, joint_data(params, root, items, retriever.tokenizer))
    batch = task.batch(np.random.default_rng(0))
    captions = batch.captions
    assert captions.order[captions.first].tolist() == captions.order[captions.second].tolist()
    assert sorted(captions.order[captions.first].tolist()) == list(range(len(batch.pictures.rgba)))
    assert not (captions.first == captions.second).any()
    assert {"captions", "alike"} <= task(batch)[1].keys()


def test_it_is_measured_on_the_same_files(root):
    params = load_params(root)
    report = root / "reports/published/dev"
    evaluate_folder(root / "models/train_joint", root / "sets", "dev", [], params.evaluate, report)
    assert read_json(report / "scores.json")["trained"] == ["de", "en"]  # the model says so
    rows = {(row["collection"], row["task"], row["lang"]): row for row in read_json(report / "scores.json")["rows"]}
    assert rows["flickr", "text_to_image", "de"]["gallery"] == 2
    assert rows["massive", "nlu", "en"]["intent_accuracy"] == 1.0
    assert ("tatoeba", "sentence_to_english", "de") in rows


def test_the_rest_of_the_pipeline_knows_them_too(root):
    for stage in ("embed", "evaluate", "index", "monitor"):
        run_stage(stage, root)
    written = yaml.safe_load((PROJECT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    named = [
        next(iter(each)) if isinstance(each, dict) else each
        for of in written.values()
        for each in of.get("metrics", [])
    ]
    assert [path for path in named if not (root / path).exists()] == []
