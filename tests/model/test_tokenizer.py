from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pytest

from unimr.model.tokenizer import NgramTokenizer, ngram_buckets, training_batch

PINNED = {
    "cat": [17320, 23208, 26074, 31573, 55644, 89058, 109644, 111526, 114243, 122735, 130364],
    "猫": [16758, 37986, 45584, 62215, 81136],
    "नमस्ते": [
        2717,
        9412,
        16171,
        19425,
        32690,
        33427,
        33706,
        48771,
        54986,
        63280,
        65200,
        70280,
        71598,
        72338,
        87965,
        88965,
        103743,
        120214,
        122451,
        123512,
    ],
}


@pytest.fixture
def tokenizer() -> NgramTokenizer:
    return NgramTokenizer(1024, 3, 5)


@pytest.mark.parametrize("word", PINNED)
def test_buckets_never_change(word):
    """A saved model means these buckets: another hash would silently make its table noise."""
    assert ngram_buckets(word, 131072, 3).tolist() == PINNED[word]


def test_buckets_are_the_same_in_another_process():
    code = "from unimr.model.tokenizer import ngram_buckets as b; print(b('gato', 1024, 4).tolist())"
    for seed in ("0", "1"):
        said = subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        )
        assert said.stdout.strip() == str(ngram_buckets("gato", 1024, 4).tolist())


def test_ngrams_mark_the_ends_of_a_word():
    whole = set(ngram_buckets("ab", 2**30, 4).tolist())
    assert len(whole) == len({"=ab", "a", "b", "<a", "ab", "b>", "<ab", "ab>", "<ab>"})
    assert whole & set(ngram_buckets("abc", 2**30, 4).tolist())
    assert not set(ngram_buckets("xy", 2**30, 4).tolist()) & whole


def test_buckets_are_within_the_table():
    buckets = ngram_buckets("Donaudampfschifffahrt", 100, 4)
    assert buckets.dtype == np.int64
    assert 0 <= buckets.min() <= buckets.max() < 100


def test_case_and_width_do_not_matter(tokenizer):
    assert tokenizer.words("Cat").tolist() == tokenizer.words("ＣＡＴ").tolist() == tokenizer.words("cat").tolist()


def test_a_batch_is_padded_and_masked(tokenizer):
    batch = tokenizer.batch([tokenizer.words(text) for text in ("red cat", "cat", "the red cat here")])
    assert batch.layout.mask.tolist() == [[True, True, False, False], [True, False, False, False], [True] * 4]
    assert batch.words.shape == (7,)


def test_a_batch_holds_every_distinct_word_once(tokenizer):
    batch = tokenizer.batch([tokenizer.words(text) for text in ("cat dog cat", "dog")])
    assert len(batch.offsets) == 2
    assert batch.words.tolist() == [batch.words[0], batch.words[1], batch.words[0], batch.words[1]]
    starts = [*batch.offsets.tolist(), len(batch.buckets)]
    found = [batch.buckets[start:end].tolist() for start, end in itertools.pairwise(starts)]
    cat, dog = (ngram_buckets(word, 1024, 3).tolist() for word in ("cat", "dog"))
    assert found[batch.words[0]] == cat
    assert found[batch.words[1]] == dog


@pytest.mark.parametrize("text", ["", "   ", "?!…", "\u200b"])
def test_a_text_without_words_is_one_empty_word(tokenizer, text):
    words = tokenizer.words(text)
    assert len(words) == 1
    batch = tokenizer.batch([words])
    assert batch.layout.mask.tolist() == [[True]]
    assert len(batch.buckets) >= 1


def test_long_texts_are_cut(tokenizer):
    assert len(tokenizer.words("one two three four five six seven")) == 5


def test_forgetting_changes_no_batch(tokenizer):
    first = tokenizer.batch([tokenizer.words("red cat")])
    tokenizer.forget()
    assert tokenizer.size == 0
    tokenizer.words("something else")
    again = tokenizer.batch([tokenizer.words("red cat")])
    assert first.buckets.equal(again.buckets)
    assert first.words.equal(again.words)


def test_training_batches_come_in_few_shapes_and_hold_the_same():
    tokenizer = NgramTokenizer(1024, 3, 20)
    rng = np.random.default_rng(0)
    shapes = set()
    for _ in range(20):
        texts = [
            tokenizer.words(" ".join(f"w{n}" for n in rng.integers(0, 400, rng.integers(1, 9)))) for _ in range(64)
        ]
        batch, order = training_batch(tokenizer, texts)
        assert sorted(order) == list(range(64))
        ngrams = np.split(batch.buckets.numpy(), batch.offsets[1:].numpy())
        words = batch.layout.padded(batch.words[:, None]).squeeze(-1)
        found = [
            [ngrams[n].tolist() for n in row[of].tolist()] for row, of in zip(words, batch.layout.mask, strict=True)
        ]
        widths, bounds = batch.layout.widths, batch.layout.bounds
        shapes |= {("part", texts, width) for texts, width in zip(np.diff(bounds), widths, strict=True)}
        shapes |= {("words", *batch.words.shape), ("distinct", *batch.offsets.shape)}
        assert found == [[tokenizer.ngrams[number].tolist() for number in texts[place]] for place in order]
    assert len(shapes) < 20
    steps = {"distinct": 128, "words": 256, "part": 4}
    assert all(shape[-1] % steps[shape[0]] == 0 for shape in shapes)
