from __future__ import annotations

import numpy as np
import pytest
import torch

from unimr.training.text_task import draw_texts


def test_half_of_a_batch_of_pairs_are_partners_of_the_other_half(make_task):
    task = make_task(contrast_weight=1.0, batch_size=64)
    corpus, texts = task.corpus, draw_texts(task.corpus, task.params, np.random.default_rng(0))
    pairs = texts.pairs
    assert len(texts.texts) == 64
    assert sorted([*pairs.left.tolist(), *pairs.right.tolist()]) == list(range(64))
    for left, right, item in zip(pairs.left, pairs.right, pairs.items, strict=True):
        assert {int(item)} <= {*corpus.positives[texts.numbers[left]]} & {*corpus.positives[texts.numbers[right]]}
        assert texts.targets[left, item] > 0 and texts.targets[right, item] > 0


def test_without_pairs_all_of_a_batch_is_drawn(make_task):
    task = make_task(batch_size=64)
    drawn = draw_texts(task.corpus, task.params, np.random.default_rng(0))
    sampled = task.corpus.sample(64, np.random.default_rng(0))
    assert drawn.pairs is None
    assert sorted(drawn.numbers) == sorted(sampled)


def test_without_proxies_texts_are_compared_with_each_other_alone(make_task):
    task = make_task(contrast_weight=2.0, proxy_weight=0.0)
    batch = task.batch(np.random.default_rng(0))
    assert batch.texts.targets is None
    loss, report, _ = task(batch)
    assert set(report) == {"pairs", "image"}
    assert loss.item() == pytest.approx(2.0 * report["pairs"] + report["image"], rel=1e-5)


def test_contrast_learns_which_texts_are_of_one_item(make_task):
    task = make_task(contrast_weight=4.0)
    optimizer = torch.optim.Adam([weights for weights in task.module.parameters() if weights.ndim < 2], lr=0.01)
    optimizer.add_param_group({"params": [task.projection.weight], "lr": 0.01})
    found = []
    for _ in range(30):
        loss, report, samples = task(task.batch(np.random.default_rng(0)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(report["pairs"])
    assert samples == task.params.batch_size
    assert found[-1] < 0.8 * found[0]


def test_the_weight_of_contrast_counts_in_the_loss(make_task):
    def parts(weight: float) -> tuple[float, dict[str, float]]:
        task = make_task(contrast_weight=weight)
        loss, report, _ = task(task.batch(np.random.default_rng(0)))
        return float(loss), report

    loss, report = parts(2.0)
    assert loss == pytest.approx(report["text"] + 1.0 * report["image"] + 2.0 * report["pairs"], rel=1e-5)
    assert "pairs" not in parts(0.0)[1]
