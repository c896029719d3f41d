"""Rows encoded in chunks have the gradients of rows encoded at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from unimr.errors import UnimrError
from unimr.model.text_encoder import NgramTextEncoder
from unimr.model.tokenizer import NgramTokenizer
from unimr.training.encode import chunk_of, encode, take_rows
from unimr.training.image_task import ImageTask
from unimr.training.losses.info_nce import InfoNCELoss

from .several import largest_difference

TOLERANCE = 1e-5


@pytest.fixture
def tower():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 32), nn.Dropout(0.3), nn.GELU(), nn.Linear(32, 8))


def gradients(tower, vectors):
    """Gradients of a contrast of all rows with each other."""
    tower.zero_grad()
    left, right = nn.functional.normalize(vectors, dim=-1).chunk(2)
    InfoNCELoss()(left, right, torch.arange(len(left))).backward()
    return {name: value.grad.clone() for name, value in tower.named_parameters()}


@pytest.mark.parametrize("chunk_size", [1, 5, 24, 100])
def test_chunks_have_the_gradient_of_the_whole_batch(tower, chunk_size):
    rows = torch.randn(24, 6)
    whole = gradients(tower.eval(), tower(rows))
    assert largest_difference(gradients(tower, encode(tower, rows, chunk_size)), whole) < TOLERANCE


def test_dropout_is_the_same_when_a_chunk_is_encoded_again(tower):
    rows = torch.randn(24, 6)
    torch.manual_seed(1)
    kept = gradients(tower.train(), torch.cat([tower(chunk) for chunk in rows.split(5)]))
    torch.manual_seed(1)
    assert largest_difference(gradients(tower, encode(tower, rows, 5)), kept) < TOLERANCE


def test_without_chunks_nothing_is_encoded_twice(tower):
    calls = []

    def count(rows):
        calls.append(len(rows))
        return tower(rows)

    gradients(tower, encode(count, torch.randn(24, 6), 0))
    assert calls == [24]
    gradients(tower, encode(count, torch.randn(24, 6), 10))
    assert calls == [24, 10, 10, 4, 4, 10, 10]


def test_some_rows_of_texts_are_encoded_as_among_all(params):
    tokenizer = NgramTokenizer(1024, 3, 20)
    texts = ["red cat", "a cat that sleeps", "", "голубая кошка", "red"]
    words = [tokenizer.words(text) for text in texts]
    batch = tokenizer.batch(words, cuts=[2], few_shapes=True)
    torch.manual_seed(0)
    encoder = NgramTextEncoder(params.model.text, params.model.dim)
    whole = encoder(batch).pooled
    for rows in (range(5), range(1, 3), range(4, 5)):
        part = take_rows(batch, rows)
        assert torch.allclose(encoder(part).pooled, whole[rows.start : rows.stop], atol=1e-6)
        assert len(part.offsets) == len(np.unique(np.concatenate([words[row] for row in rows])))


def test_an_encoder_that_normalises_over_the_batch_is_never_cut(params, tables):
    assert chunk_of(nn.Sequential(nn.BatchNorm2d(2)), 8) == 0
    assert chunk_of(nn.Sequential(nn.LayerNorm(2)), 8) == 8
    section = params.train_image.model_copy(update={"chunk_size": 8})
    with pytest.raises(UnimrError, match=r"train_image\.chunk_size is 8.*normalises over the batch"):
        ImageTask(params.model, section, None)


@pytest.mark.parametrize("stage", ["train_text", "train_nlu", "train_joint"])
def test_a_stage_in_chunks_has_the_gradients_of_the_whole_batch(steps_of, stage):
    _, (whole,) = steps_of(stage, 1, steps=1)
    for count in (1, 2):
        _, (chunks, *_) = steps_of(stage, count, steps=1, chunk_size=2)
        assert largest_difference(chunks, whole) < TOLERANCE
