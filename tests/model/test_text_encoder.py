from __future__ import annotations

from hashlib import sha256

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from unimr.config import load_params
from unimr.model.layout import Layout
from unimr.model.text_encoder import NgramTextEncoder, attention_pool
from unimr.model.tokenizer import NgramTokenizer

from ..index.small_index import PROJECT


@pytest.fixture(scope="module")
def encoder(model_params):
    torch.manual_seed(0)
    return NgramTextEncoder(model_params.text, model_params.dim).eval()


def encode(encoder, *texts):
    tokenizer = NgramTokenizer(1024, 4, 12)
    with torch.no_grad():
        return encoder(tokenizer.batch([tokenizer.words(text) for text in texts]))


def test_shapes(encoder):
    out = encode(encoder, "red cat", "猫が好き")
    assert out.states.shape == (6, 32)
    assert out.scores.shape == (6,)
    assert out.layout.padded(out.states).shape == (2, 4, 32)
    assert out.pooled.shape == (2, 32)


@pytest.mark.parametrize("long", ["a much longer text than the other one", "猫が好きです", "x y"])
def test_padding_never_changes_an_embedding(encoder, long):
    alone, padded = encode(encoder, "red cat"), encode(encoder, "red cat", long)
    assert torch.allclose(alone.pooled[0], padded.pooled[0], atol=1e-6)
    assert torch.allclose(alone.states, padded.states[:2], atol=1e-6)


def test_word_order_matters(encoder):
    there, back = encode(encoder, "dog bites man"), encode(encoder, "man bites dog")
    assert not torch.allclose(there.pooled, back.pooled, atol=1e-3)


def test_a_phrase_means_nearly_the_same_wherever_it_stands(encoder):
    """No position embeddings: with the same neighbours, the same word vectors come in."""
    here, there = encode(encoder, "x y red cat x y"), encode(encoder, "a b c x y red cat x y")
    like = torch.cosine_similarity(here.states[2], there.states[5], dim=0)
    other = torch.cosine_similarity(here.states[2], here.states[0], dim=0)
    assert float(like) > 0.9 > float(other)


def test_spelling_variants_are_near(encoder):
    first, second, other = (encode(encoder, text).pooled for text in ("colours", "colors", "電車"))
    assert torch.cosine_similarity(first, second) > torch.cosine_similarity(first, other) + 0.2


def test_idf_is_saved_and_weighs(encoder, model_params):
    assert "idf" in encoder.state_dict()
    before = encode(encoder, "red cat").pooled
    other = NgramTextEncoder(model_params.text, model_params.dim).eval()
    other.load_state_dict({**encoder.state_dict(), "idf": torch.linspace(0.1, 9, 1024)})
    assert not torch.allclose(encode(other, "red cat").pooled, before, atol=1e-3)


def test_the_scale_of_idf_does_not_matter(encoder, model_params):
    before = encode(encoder, "red cat").pooled
    other = NgramTextEncoder(model_params.text, model_params.dim).eval()
    other.load_state_dict({**encoder.state_dict(), "idf": encoder.idf * 7})
    assert torch.allclose(encode(other, "red cat").pooled, before, atol=1e-5)


def test_only_rows_of_the_batch_have_a_gradient(model_params):
    encoder = NgramTextEncoder(model_params.text, model_params.dim)
    tokenizer = NgramTokenizer(1024, 4, 12)
    batch = tokenizer.batch([tokenizer.words("red cat")])
    encoder(batch).pooled.square().sum().backward()
    gradient = encoder.ngram_table.grad
    assert gradient.is_sparse
    assert set(gradient.coalesce().indices()[0].tolist()) == set(batch.buckets.tolist())


def test_attention_pool_leaves_padding_out():
    states, scores = torch.tensor([[1.0], [3.0], [100.0], [50.0]]), torch.tensor([0.0, 0.0, 50.0, 9.0])
    pooled = attention_pool(states, scores, Layout.of(np.array([2, 1])))  # and one word of filling
    assert pooled.flatten().tolist() == pytest.approx([2.0, 100.0])


def test_texts_in_parts_with_filling_are_encoded_as_without(encoder):
    tokenizer, texts = NgramTokenizer(1024, 4, 12), ["cat", "red", "the red cat sleeps", "a much longer text"]
    words = [tokenizer.words(text) for text in texts]
    with torch.no_grad():
        plain, parts = encoder(tokenizer.batch(words)), encoder(tokenizer.batch(words, cuts=[2], few_shapes=True))
    assert torch.allclose(plain.pooled, parts.pooled, atol=1e-6)
    assert torch.allclose(plain.states, parts.states[: len(plain.states)], atol=1e-6)


def test_the_gradient_of_the_table_is_the_one_of_torch(encoder):
    tokenizer = NgramTokenizer(1024, 4, 12)
    batch = tokenizer.batch([tokenizer.words(text) for text in ("red cat cat", "the cat sleeps")], few_shapes=True)
    found = []
    for sparse in (True, False):
        encoder.zero_grad()
        if sparse:
            words = encoder.embed_words(batch)
        else:
            weights = encoder.idf[batch.buckets]
            bags = (batch.buckets, encoder.ngram_table, batch.offsets)
            sums = F.embedding_bag(*bags, mode="sum", per_sample_weights=weights)
            squares = F.embedding_bag(batch.buckets, encoder.idf[:, None].square(), batch.offsets, mode="sum")
            words = sums / squares.sqrt()
        words.sin().sum().backward()
        found.append(encoder.ngram_table.grad)
    assert found[0].is_sparse and not found[1].is_sparse
    assert torch.allclose(found[0].to_dense(), found[1], atol=1e-6)


def test_the_gradient_of_a_batch_of_full_size_is_the_same_bits_every_time():
    params = load_params(PROJECT)
    encoder = NgramTextEncoder(params.model.text, params.model.dim)
    tokenizer = NgramTokenizer(params.model.text.buckets, params.model.text.ngram_max, params.model.text.max_words)
    rng = np.random.default_rng(0)
    texts = [" ".join(f"word{number}" for number in rng.zipf(1.3, 20)) for _ in range(params.train_text.batch_size)]
    batch = tokenizer.batch([tokenizer.words(text) for text in texts])
    found = set()
    for _ in range(4):
        encoder.zero_grad()
        encoder(batch).pooled.square().sum().backward()
        gradients = [each.grad for each in encoder.parameters() if each.grad is not None and not each.grad.is_sparse]
        found.add(sha256(b"".join(each.numpy().tobytes() for each in gradients)).hexdigest())
    assert len(found) == 1
