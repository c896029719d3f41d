"""The four training stages: read the tables and the earlier stages, train, measure, save."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from unimr.data.mixture import LABELS
from unimr.data.tables import read_table
from unimr.files import sha256_of, write_json
from unimr.model.encoders import make_image_encoder, make_tokenizer
from unimr.model.manifest import MANIFEST
from unimr.model.names import KnownNames
from unimr.model.nlu import Labels
from unimr.model.retriever import UnifiedRetriever
from unimr.model.tokenizer import Tokenizer
from unimr.model.unfilled import unfilled
from unimr.model_params import HfTextParams, PretrainedParams
from unimr.params import Params, TrainParams
from unimr.training.corpus import Items, TextCorpus
from unimr.training.distributed import process_index
from unimr.training.gate import check_retained, measure_nlu, measure_text
from unimr.training.image_task import ImageTask
from unimr.training.joint_task import JointData, JointTask, read_compositions
from unimr.training.loop import Batch, Rates, Task, train
from unimr.training.losses.proxy import ProxyLoss
from unimr.training.nlu_task import NluTask, UtteranceSet
from unimr.training.parts import load_parts, save_parts
from unimr.training.pictures import Pictures
from unimr.training.teacher import ask_teacher, folder_hash
from unimr.training.text_task import PictureVectors, TextTask, embed_pictures

log = logging.getLogger(__name__)

TABLES = Path("data/validated")
MODELS = Path("models")


def run_train_image(params: Params, root: Path) -> None:
    """Stage `train_image`: the image encoder and the item proxies."""
    stage = params.train_image
    pictures = Pictures.read(root / TABLES, params.model.image.image_size)
    torch.manual_seed(stage.seed)
    task = ImageTask(params.model, stage, pictures)
    work = _train(task, params, "train_image", root, [], Rates(stage.learning_rate, 0.0))
    parts = {"image_encoder": task.encoder, "proxy_loss": task.proxy_loss}
    _save(root, "train_image", parts, params, None, work)


def run_train_text(params: Params, root: Path) -> None:
    """Stage `train_text`: the text encoder, on all texts of all languages."""
    stage = params.train_text
    texts, utterances = read_table(root / TABLES, "texts"), read_table(root / TABLES, "utterances")
    items = Items.read(root / TABLES)
    corpus = TextCorpus(
        texts, utterances, items.item_ids, make_tokenizer(params.model.text), items.variants, root / TABLES
    )
    teacher = ask_teacher(stage.teacher, corpus, root) if stage.teacher else None
    torch.manual_seed(stage.seed)
    vectors = _picture_vectors(params, root) if stage.image_weight else None
    task = TextTask(params.model, stage, corpus, vectors, teacher)
    _load_image_proxies(root, params, task.proxy_loss, items.pictured)
    rates = Rates(stage.learning_rate, stage.table_learning_rate)
    work = _train(task, params, "train_text", root, ["train_image"], rates)
    parts = {"text_encoder": task.encoder, "text_projection": task.projection, "proxy_loss": task.proxy_loss}
    metrics = measure_text(_text_model(params, parts), root / TABLES)
    _save(root, "train_text", parts, params, metrics, work)


def run_train_nlu(params: Params, root: Path) -> None:
    """Stage `train_nlu`: intent and slots, on a text encoder that is tuned with them."""
    stage = params.train_nlu
    items = Items.read(root / TABLES)
    labels = Labels.read(root / TABLES / LABELS)
    torch.manual_seed(stage.seed)
    retriever = _retriever(params, root, labels)
    utterances = UtteranceSet(
        read_table(root / TABLES, "utterances"), items.item_ids, retriever.tokenizer, labels, root / TABLES
    )
    proxy_loss = _proxy_loss(params, items, params.train_text.min_temperature)
    texts = {"text_encoder": retriever.text_encoder, "text_projection": retriever.text_projection}
    load_parts(root / MODELS / "train_text", {**texts, "proxy_loss": proxy_loss})
    task = NluTask(stage, retriever, proxy_loss, utterances)
    work = _train(
        task, params, "train_nlu", root, ["train_text"], Rates(stage.learning_rate, stage.table_learning_rate)
    )
    retriever.known_names = KnownNames.of_tables(read_table(root / TABLES, "texts"), labels)
    metrics = measure_nlu(retriever.eval(), root / TABLES)
    parts = {"text_encoder": retriever.text_encoder, "nlu": retriever.nlu}
    _save(root, "train_nlu", parts, params, metrics, work)


def run_train_joint(params: Params, root: Path) -> None:
    """Stage `train_joint`: everything together; refused if it unlearned more than the margin.

    Raises:
        UnimrError: the regression gate: the model of the earlier stages could do more.
    """
    stage = params.train_joint
    torch.manual_seed(stage.seed)
    retriever = _retriever(params, root, Labels.read(root / TABLES / LABELS))
    items = Items.read(root / TABLES)
    proxy_loss = _proxy_loss(params, items, stage.min_temperature)
    _load_stages(root, retriever, proxy_loss)
    task = JointTask(stage, retriever, proxy_loss, joint_data(params, root, items, retriever.tokenizer))
    rates = Rates(stage.learning_rate, stage.table_learning_rate)
    work = _train(task, params, "train_joint", root, ["train_image", "train_text", "train_nlu"], rates)
    retriever.known_names = KnownNames.of_tables(read_table(root / TABLES, "texts"), retriever.nlu.labels)
    metrics = measure_text(retriever, root / TABLES) | measure_nlu(retriever, root / TABLES)
    check_retained(root / MODELS, metrics, stage.regression_margin)
    retriever.save(root / MODELS / "train_joint", _notes(params, root), metrics)
    write_json(root / "metrics" / "train_joint.json", metrics)
    shutil.rmtree(work)


def _picture_vectors(params: Params, root: Path) -> PictureVectors:
    """What the image encoder of `train_image` says of every picture."""
    pictures = Pictures.read(root / TABLES, params.model.image.image_size)
    encoder = make_image_encoder(params.model.image, params.model.dim, root / MODELS / "train_image")
    encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    load_parts(root / MODELS / "train_image", {"image_encoder": encoder})
    return embed_pictures(encoder, pictures)


def _load_image_proxies(root: Path, params: Params, proxy_loss: ProxyLoss, pictured: int) -> None:
    """Begin with the proxies of `train_image`, which has none for items without a picture; these come last."""
    if pictured == len(proxy_loss.proxies):
        load_parts(root / MODELS / "train_image", {"proxy_loss": proxy_loss})
        return
    of_pictures = ProxyLoss(pictured, params.model.dim, params.model.matryoshka_dims, params.train_text.min_temperature)
    load_parts(root / MODELS / "train_image", {"proxy_loss": of_pictures})
    with torch.no_grad():
        proxy_loss.proxies[:pictured] = of_pictures.proxies
        proxy_loss.log_inverse_temperature.copy_(of_pictures.log_inverse_temperature)


def _retriever(params: Params, root: Path, labels: Labels) -> UnifiedRetriever:
    """A model for the weights of the earlier stages, which are loaded next."""
    return UnifiedRetriever(params.model, labels, root / MODELS / "train_text", root / MODELS / "train_image")


def _load_stages(root: Path, retriever: UnifiedRetriever, proxy_loss: ProxyLoss) -> None:
    load_parts(root / MODELS / "train_image", {"image_encoder": retriever.image_encoder})
    texts = {"text_projection": retriever.text_projection, "proxy_loss": proxy_loss}
    load_parts(root / MODELS / "train_text", texts)
    load_parts(root / MODELS / "train_nlu", {"text_encoder": retriever.text_encoder, "nlu": retriever.nlu})


def _proxy_loss(params: Params, items: Items, min_temperature: float) -> ProxyLoss:
    return ProxyLoss(len(items.item_ids), params.model.dim, params.model.matryoshka_dims, min_temperature)


def joint_data(params: Params, root: Path, items: Items, tokenizer: Tokenizer) -> JointData:
    """What stage `train_joint` trains on, of the tables under `root`."""
    utterances = read_table(root / TABLES, "utterances")
    # Utterances come as batches of their own, with intents and slots; as plain texts they would come twice.
    corpus = TextCorpus(
        read_table(root / TABLES, "texts"), utterances[:0], items.item_ids, tokenizer, items.variants, root / TABLES
    )
    return JointData(
        corpus,
        Pictures.read(root / TABLES, params.model.image.image_size),
        UtteranceSet(utterances, items.item_ids, tokenizer, Labels.read(root / TABLES / LABELS), root / TABLES),
        read_compositions(root / TABLES / "compositions.json", items.item_ids, tokenizer),
    )


def _text_model(params: Params, parts: Mapping[str, nn.Module]) -> UnifiedRetriever:
    """A model around the parts of stage 1, which know no NLU module yet, to measure them."""
    nlu = params.model.nlu.model_copy(update={"fusion": False})
    with unfilled():
        retriever = UnifiedRetriever(params.model.model_copy(update={"nlu": nlu}))
    for name in ("text_encoder", "text_projection"):
        setattr(retriever, name, parts[name])
    return retriever.eval()


def _train(task: Task[Batch], params: Params, stage: str, root: Path, inputs: list[str], rates: Rates) -> Path:
    """Train in `.work/<stage>/<hash>`, where a killed run goes on; the hash is of all that decides the result.

    Raises:
        SystemExit: this is not the main process, which alone measures and saves.
    """
    section: TrainParams = getattr(params, stage)
    decisive = {
        "stage": section.model_dump(),
        "model": params.model.model_dump(),
        "code": _hash_of_files(sorted(Path(__file__).parents[1].rglob("*.py"))),
        "tables": _hash_of_files(sorted((root / TABLES).iterdir())),
        "checkpoints": [folder_hash(name) for name in _named(params)],
        "inputs": [sha256_of(root / MODELS / name / MANIFEST) for name in inputs],
    }
    digest = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]
    work = root / ".work" / stage / digest
    train(task, section, work, rates)
    if process_index():
        raise SystemExit(0)
    for other in work.parent.glob("*"):
        if other != work:
            shutil.rmtree(other)  # left by a run with other parameters or data
    return work


def _named(params: Params) -> list[str]:
    """Pretrained encoders, tokenizers and teachers that the parameters name."""
    model, teacher = params.model, params.train_text.teacher
    pretrained = [part for part in (model.text, model.image) if isinstance(part, PretrainedParams)]
    tokenizer = [model.text.tokenizer] if isinstance(model.text, HfTextParams) else []
    named = [part.name for part in pretrained] + tokenizer + ([teacher.name] if teacher else [])
    return [name for name in named if name]  # none: an encoder from scratch, a tokenizer that comes with its encoder


def _hash_of_files(paths: list[Path]) -> str:
    return hashlib.sha256("".join(f"{path.name}{sha256_of(path)}" for path in paths).encode()).hexdigest()


def _save(
    root: Path, stage: str, parts: Mapping[str, nn.Module], params: Params, metrics: dict[str, float] | None, work: Path
) -> None:
    """Save the parts and, where the stage is measured, the metrics; then drop the checkpoints: the result is whole."""
    save_parts(root / MODELS / stage, parts, _notes(params, root), metrics or {})
    if metrics is not None:  # what can be measured depends on the tables: it may be nothing
        write_json(root / "metrics" / f"{stage}.json", metrics)
    shutil.rmtree(work)


def _notes(params: Params, root: Path) -> dict[str, Any]:
    """What a model was made from, for its manifest."""
    tables = sorted((root / TABLES).iterdir())
    return {
        "profile": params.profile,
        "languages": params.prepare.languages,
        "tables": _hash_of_files(tables),
        "torch": torch.__version__.split("+")[0],
    }
