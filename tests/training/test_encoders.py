"""Pretrained encoders and a teacher, through every stage of a small project."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from tests.model.checkpoints import make_image_checkpoint, make_text_checkpoint
from tests.training.small_project import TINY, TRAINING, write_project
from unimr.config import load_params
from unimr.errors import UnimrError
from unimr.export import export
from unimr.files import write_json
from unimr.model.encoders import make_tokenizer
from unimr.model.retriever import UnifiedRetriever
from unimr.stages import run_stage
from unimr.training.corpus import Items, TextCorpus
from unimr.training.loop import Rates, train
from unimr.training.losses.similarity import SimilarityLoss
from unimr.training.teacher import ask_teacher
from unimr.training.text_task import PictureVectors, TextTask

TEXTS = ["red cat", "赤い猫を見せて", "", "a waving hand, please!"]
SHORT = {"steps": 6, "batch_size": 8, "warmup_steps": 1, "checkpoint_every": 3}
needs_sentence_transformers = pytest.mark.skipif(
    find_spec("sentence_transformers") is None, reason="sentence-transformers is not installed"
)


def configure(root: Path, text: dict, image: dict | None = None, **sections) -> Path:
    """Give a project other encoders, and short stages."""
    model = {**TINY["model"], "text": text}
    if image is not None:
        model["image"] = image
    stages = {stage: {**TINY[stage], **SHORT, **sections.get(stage, {})} for stage in TRAINING}
    (root / "profiles" / "tiny.yaml").write_text(yaml.safe_dump({"model": model, **stages}))
    return root


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    root = tmp_path_factory.mktemp("checkpoints")
    make_text_checkpoint(root / "xlm-roberta", "xlm-roberta")
    make_image_checkpoint(root / "siglip", "siglip")
    return root


@pytest.fixture(scope="module")
def done(tmp_path_factory, checkpoints) -> Path:
    """A project after all stages from `train_image` to `index`; the text encoder is trained whole, the tower frozen."""
    root = write_project(tmp_path_factory.mktemp("hf"))
    text = {"kind": "hf", "name": str(checkpoints / "xlm-roberta"), "max_tokens": 24, "layer_decay": 0.9}
    image = {"kind": "hf", "name": str(checkpoints / "siglip"), "image_size": 16, "train": "frozen"}
    configure(root, text, image)
    write_json(root / "data" / "validated" / "slot_values.json", {})
    for stage in (*TRAINING, "embed", "evaluate", "index"):
        run_stage(stage, root)
    return root


def weights_of(root: Path, stage: str, prefix: str) -> dict[str, torch.Tensor]:
    found = load_file(root / "models" / stage / "model.safetensors")
    return {name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)}


def test_the_final_model_loads_without_the_checkpoints_it_came_from(done, checkpoints, tmp_path):
    shutil.copytree(done / "models" / "train_joint", tmp_path / "model")
    model = UnifiedRetriever.load(tmp_path / "model")
    vectors = model.encode_texts(TEXTS)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert len(model.understand(TEXTS)) == len(TEXTS)
    assert (done / "published").is_dir()
    assert (done / "metrics" / "evaluation.json").exists()


def test_a_stage_is_decided_by_the_checkpoints_it_names_and_by_no_other_folder(checkpoints, project, monkeypatch):
    """A tokenizer that comes with its encoder has no name, which is no word for the folder one stands in."""
    asked = []
    monkeypatch.setattr("unimr.training.stages.folder_hash", lambda name: asked.append(name) or name)
    text, image = str(checkpoints / "xlm-roberta"), str(checkpoints / "siglip")
    configure(project, {"kind": "hf", "name": text}, {"kind": "hf", "name": image, "image_size": 16})
    run_stage("train_image", project)
    assert sorted(asked) == sorted([text, image])


def test_a_frozen_tower_comes_out_as_it_went_in_and_its_projection_does_not(done, checkpoints):
    before = load_file(checkpoints / "siglip" / "model.safetensors")
    tower = {name.removeprefix("vision_model."): value for name, value in before.items() if "vision_model" in name}
    after = weights_of(done, "train_joint", "image_encoder.backbone.")
    assert after.keys() == tower.keys()
    assert all(torch.equal(after[name], tower[name]) for name in after)
    first, last = (
        weights_of(done, *where) for where in (("train_image", "image_encoder/"), ("train_joint", "image_encoder."))
    )
    assert not torch.equal(first["project.weight"], last["project.weight"])


def test_every_stage_trains_the_text_encoder(done):
    name = "backbone.encoder.layer.0.attention.self.query.weight"
    text = weights_of(done, "train_text", "text_encoder/")[name]
    nlu = weights_of(done, "train_nlu", "text_encoder/")[name]
    joint = weights_of(done, "train_joint", "text_encoder.")[name]
    assert not torch.equal(text, nlu)
    assert not torch.equal(nlu, joint)


@needs_sentence_transformers
@pytest.mark.parametrize("kind", ["hf", "ngram"])
def test_an_exported_model_gives_the_same_vectors_in_sentence_transformers(done, trained, tmp_path, kind):
    from unimr.model.sentence import load_sentence_transformer

    root = done if kind == "hf" else trained
    model = root / "models" / "train_joint"
    export(load_params(root), root, model, tmp_path / "exported")
    loaded = load_sentence_transformer(str(tmp_path / "exported"))
    expected = UnifiedRetriever.load(model).encode_texts(TEXTS)
    assert np.allclose(loaded.encode(TEXTS), expected, atol=1e-5)
    assert loaded.get_embedding_dimension() == 32
    assert torch.allclose(loaded.similarity(expected[:1], expected[:1]), torch.ones(1, 1), atol=1e-5)


def test_the_model_card_says_what_the_run_says(done, tmp_path):
    model = done / "models" / "train_joint"
    export(load_params(done), done, model, tmp_path / "exported")
    card = (tmp_path / "exported" / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: sentence-transformers\n")
    assert "a xlm-roberta encoder, begun from xlm-roberta, full training" in card
    assert "| `train_text` | 6 | 8 |" in card
    assert "| Name in another language → English name" in card  # the evaluation is of this model


def test_exporting_over_something_else_is_refused(done, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(UnimrError, match="exists and is no exported model"):
        export(load_params(done), done, done / "models" / "train_joint", tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.txt").exists()


class StoppedError(Exception):
    """Stands for the end of a process."""


@pytest.mark.skipif(find_spec("peft") is None, reason="peft is not installed")
@pytest.mark.parametrize("how", [{"train": "full"}, {"train": "lora", "lora": {"rank": 2, "alpha": 4}}])
def test_a_run_cut_short_ends_with_the_same_weights(tables, project, checkpoints, tmp_path, how):
    text = {"kind": "hf", "name": str(checkpoints / "xlm-roberta"), "max_tokens": 24, "layer_decay": 0.5, **how}
    params = load_params(configure(project, text))
    ended = {}
    for name, cut in (("whole", None), ("cut", 4)):
        for stop in [cut, None] if cut else [None]:
            task = _text_task(params, tables)
            _stop_at(task, stop)
            try:
                train(task, params.train_text, tmp_path / name / "work", Rates(1e-2, 0.0))
            except StoppedError:
                continue
            ended[name] = {key: value.clone() for key, value in task.module.state_dict().items()}
    assert ended["whole"].keys() == ended["cut"].keys()
    assert all(torch.equal(ended["whole"][key], ended["cut"][key]) for key in ended["whole"])
    assert not any("lora" in key for key in ended["whole"])


def _text_task(params, tables) -> TextTask:
    from unimr.data.tables import read_table

    items = Items.read(tables)
    tokenizer = make_tokenizer(params.model.text)
    corpus = TextCorpus(read_table(tables, "texts"), read_table(tables, "utterances"), items.item_ids, tokenizer)
    vectors = PictureVectors(torch.eye(len(items.item_ids), params.model.dim), torch.arange(len(items.item_ids)))
    torch.manual_seed(0)
    return TextTask(params.model, params.train_text, corpus, vectors)


def _stop_at(task: TextTask, step: int | None) -> None:
    draw, drawn = task.batch, []

    def batch(rng):
        drawn.append(1)
        if len(drawn) == step:
            raise StoppedError
        return draw(rng)

    task.batch = batch


def test_frozen_parts_are_not_in_the_optimiser(tables, project, checkpoints, tmp_path, monkeypatch):
    text = {"kind": "hf", "name": str(checkpoints / "xlm-roberta"), "max_tokens": 24}
    params = load_params(configure(project, text | {"train": "last_layers", "last_layers": 1, "rate_multiplier": 0.5}))
    task, seen = _text_task(params, tables), []
    made = torch.optim.AdamW
    monkeypatch.setattr(torch.optim, "AdamW", lambda groups, **given: seen.append(groups) or made(groups, **given))
    train(task, params.train_text, tmp_path / "work", Rates(1e-2, 0.0))
    scales = {id(value): group["scale"] for group in seen[0] for value in group["params"]}
    for name, value in task.encoder.backbone.named_parameters():
        assert scales.get(id(value)) == (0.5 if name.startswith("encoder.layer.1.") else None)
    assert scales[id(task.projection.weight)] == scales[id(task.encoder.project.weight)] == 1.0


# The teacher


@pytest.fixture(scope="module")
def teacher(tmp_path_factory, checkpoints) -> Path:
    """A SentenceTransformer folder."""
    pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    folder = tmp_path_factory.mktemp("teacher") / "teacher"
    transformer = Transformer(str(checkpoints / "xlm-roberta"))
    SentenceTransformer(modules=[transformer, Pooling(32)], device="cpu").save(str(folder))
    return folder


def test_the_teacher_is_asked_once_and_its_answers_are_kept(project, teacher, tables, monkeypatch, caplog):
    caplog.set_level("INFO", logger="unimr")
    params = load_params(
        configure(project, TINY["model"]["text"], train_text={"teacher": {"name": str(teacher), "weight": 1.0}})
    )
    corpus = _text_task(params, tables).corpus
    first = ask_teacher(params.train_text.teacher, corpus, project)
    monkeypatch.setattr("unimr.training.teacher._encode", lambda *_: pytest.fail("asked again"))
    again = ask_teacher(params.train_text.teacher, corpus, project)
    assert np.array_equal(first.vectors, again.vectors)
    assert [message for message in caplog.messages if message.startswith("teacher:")][-1].endswith("texts reused")
    (kept,) = (project / ".work" / "teacher").iterdir()
    kept.write_bytes(kept.read_bytes()[:100])
    monkeypatch.setattr(
        "unimr.training.teacher._encode", lambda _name, strings: np.ones((len(strings), 32), np.float32)
    )
    assert (ask_teacher(params.train_text.teacher, corpus, project).vectors == 1).all()


def test_translations_are_given_what_the_teacher_says_of_the_names_of_their_items(project, teacher, tables):
    params = load_params(
        configure(project, TINY["model"]["text"], train_text={"teacher": {"name": str(teacher), "weight": 1.0}})
    )
    corpus = _text_task(params, tables).corpus
    found = ask_teacher(params.train_text.teacher, corpus, project)
    names = {
        item: number
        for number, (role, lang, _) in enumerate(corpus.keys)
        if lang == "en" and role in ("name", "variant")
        for item in corpus.positives[number].tolist()
    }
    translated = next(
        number
        for number, (role, lang, _) in enumerate(corpus.keys)
        if lang != "en"
        and role == "name"
        and len(corpus.positives[number]) == 1
        and int(corpus.positives[number][0]) in names
    )
    name = names[int(corpus.positives[translated][0])]
    targets = found.targets(np.array([translated, name]))
    assert torch.allclose(targets[0], targets[1], atol=1e-5)
    assert torch.allclose(targets.norm(dim=-1), torch.ones(2), atol=1e-5)


def test_a_teacher_changes_what_stage_1_learns(done, teacher, tmp_path):
    root = shutil.copytree(done, tmp_path / "project")
    configure(root, TINY["model"]["text"], train_text={"teacher": {"name": str(teacher), "weight": 1.0}})
    run_stage("train_image", root)
    run_stage("train_text", root)
    with_teacher = weights_of(root, "train_text", "text_projection/")["weight"]
    configure(root, TINY["model"]["text"])
    run_stage("train_text", root)
    assert not torch.equal(weights_of(root, "train_text", "text_projection/")["weight"], with_teacher)


def test_a_folder_that_is_no_teacher_is_named(project, tables, tmp_path):
    pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    (tmp_path / "empty").mkdir()
    teacher = {"name": str(tmp_path / "empty"), "weight": 1.0}
    params = load_params(configure(project, TINY["model"]["text"], train_text={"teacher": teacher}))
    with pytest.raises(UnimrError, match=r"teacher\.name: .*empty is no SentenceTransformer"):
        ask_teacher(params.train_text.teacher, _text_task(params, tables).corpus, project)


def test_similarities_like_the_teachers_cost_nothing_and_texts_without_a_target_do_not_count():
    torch.manual_seed(0)
    taught = torch.nn.functional.normalize(torch.randn(5, 8), dim=-1)
    rotated = taught @ torch.linalg.qr(torch.randn(8, 8)).Q
    loss = SimilarityLoss()
    assert float(loss(rotated, taught)) < 1e-5
    other = torch.nn.functional.normalize(torch.randn(5, 8), dim=-1)
    assert float(loss(other, taught)) > 0.1
    none = torch.cat([rotated, other]), torch.cat([taught, torch.zeros(5, 8)])
    assert float(loss(*none)) < 1e-5
