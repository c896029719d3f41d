from __future__ import annotations

import numpy as np
import pytest
import torch

from unimr.data.tables import read_table
from unimr.model.nlu import INTENTS, TAGS, NluOutput
from unimr.model.tokenizer import NgramTokenizer
from unimr.training.nlu_task import NO_TAG, UtteranceSet, nlu_losses


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
    assert batch.tags.shape == batch.words.mask.shape
    assert bool(((batch.tags == NO_TAG) == ~batch.words.mask).all())
    for text, intent, tags, item in zip(batch.texts, batch.intents, batch.tags, batch.items, strict=True):
        outside = INTENTS[int(intent)] == "out_of_scope"
        named = {TAGS[tag] for tag in tags.tolist() if tag != NO_TAG}
        assert ("B-subject" in named) != outside, text
        assert (int(item) == -1) == outside
    assert batch.texts[0] in repr(batch)


def test_padding_does_not_count_in_the_loss(utterances):
    batch = utterances.batch(8, np.random.default_rng(0))
    torch.manual_seed(0)
    tags = torch.randn(*batch.tags.shape, len(TAGS))
    intents = torch.randn(8, len(INTENTS))
    first, _ = nlu_losses(NluOutput(intents, tags, intents), batch)
    tags[~batch.words.mask] = 100.0
    second, _ = nlu_losses(NluOutput(intents, tags, intents), batch)
    assert torch.equal(first, second)


def test_right_answers_cost_less_than_wrong_ones(utterances):
    batch = utterances.batch(8, np.random.default_rng(0))

    def loss(intents: torch.Tensor, tags: torch.Tensor) -> dict[str, float]:
        logits = torch.nn.functional.one_hot(tags.clamp_min(0), len(TAGS)).float() * 20
        asked = torch.nn.functional.one_hot(intents, len(INTENTS)).float() * 20
        return nlu_losses(NluOutput(asked, logits, asked), batch)[1]

    right = loss(batch.intents, batch.tags)
    wrong = loss((batch.intents + 1) % len(INTENTS), (batch.tags.clamp_min(0) + 1) % len(TAGS))
    assert right["slots"] < 0.01 < 10 < wrong["slots"]
    assert right["intent"] < wrong["intent"]
