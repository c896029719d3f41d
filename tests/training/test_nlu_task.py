from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from unimr.data.tables import read_table
from unimr.model.nlu import INTENTS, TAGS
from unimr.model.tokenizer import NgramTokenizer
from unimr.training.losses.proxy import ProxyLoss
from unimr.training.nlu_task import NO_TAG, NluBatch, UtteranceSet, asked_loss, nlu_losses


@pytest.fixture(scope="module")
def utterances(tables) -> UtteranceSet:
    frame = read_table(tables, "utterances")
    items = sorted(frame["item_id"].dropna().unique())
    return UtteranceSet(frame, items, NgramTokenizer(1024, 3, 20))


def test_only_train_utterances_are_in_it(utterances, tables):
    frame = read_table(tables, "utterances")
    assert utterances.texts == frame[frame["split"] == "train"]["text"].tolist()
    assert not set(utterances.texts) & set(frame[frame["split"] == "test"]["text"])


def test_the_generator_alone_decides_a_batch(utterances):
    texts = [utterances.batch(20, np.random.default_rng(seed)).texts for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_a_batch_has_the_annotation_of_its_texts(utterances):
    batch = utterances.batch(30, np.random.default_rng(0))
    assert bool(((batch.tags == NO_TAG) == ~batch.words.layout.mask).all())
    for text, intent, tags, item in zip(batch.texts, batch.intents, batch.tags, batch.items, strict=True):
        outside = INTENTS[int(intent)] == "out_of_scope"
        named = {TAGS[tag] for tag in tags.tolist() if tag != NO_TAG}
        assert ("B-subject" in named) != outside, text
        assert (int(item) == -1) == outside
    assert batch.texts[0] in repr(batch)


def answers(batch: NluBatch, shift: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Sure answers to a batch, each `shift` classes off the right one; padding is answered with noise."""
    asked = F.one_hot((batch.intents + shift) % len(INTENTS), len(INTENTS)).float() * 20
    sure = F.one_hot((batch.tags.clamp_min(0) + shift) % len(TAGS), len(TAGS)).float() * 20
    noise = torch.randn_like(sure) * 100
    return asked, torch.where((batch.tags == NO_TAG)[..., None], noise, sure)


def test_padding_does_not_count_in_the_loss(utterances):
    batch = utterances.batch(30, np.random.default_rng(0))
    assert bool((batch.tags == NO_TAG).any())
    assert torch.equal(nlu_losses(*answers(batch, 0), batch)[0], nlu_losses(*answers(batch, 0), batch)[0])


def test_right_answers_cost_less_than_wrong_ones(utterances):
    batch = utterances.batch(8, np.random.default_rng(0))
    right, wrong = nlu_losses(*answers(batch, 0), batch)[1], nlu_losses(*answers(batch, 1), batch)[1]
    assert right["slots"] < 0.01 < 10 < wrong["slots"]
    assert right["intent"] < 3 < wrong["intent"]


def test_only_utterances_that_ask_for_an_item_are_drawn_to_it():
    proxies, vectors = ProxyLoss(3, 4, [4]), F.normalize(torch.randn(2, 4), dim=-1)
    alone = asked_loss(vectors[:1], torch.tensor([2]), proxies)
    assert torch.allclose(asked_loss(vectors, torch.tensor([2, -1]), proxies), alone)
    assert float(asked_loss(vectors, torch.tensor([-1, -1]), proxies)) == 0
