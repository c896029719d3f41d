from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from unimr.model.layout import PARTS, Layout, by_length


def laid_out() -> tuple[Layout, torch.Tensor]:
    """Texts of 1, 1, 3 and 4 words in two parts, with filling, and the number of every word, filling included."""
    layout = Layout.of(np.array([1, 1, 3, 4]), [2], few_shapes=True)
    return layout, torch.arange(len(layout.positions), dtype=torch.float)[:, None]


def test_words_are_padded_text_by_text():
    layout, words = laid_out()
    padded = layout.padded(words).squeeze(-1)
    assert [row[mask].tolist() for row, mask in zip(padded, layout.mask, strict=True)] == [
        [0], [1], [2, 3, 4], [5, 6, 7, 8]
    ]  # fmt: skip


def test_parts_are_as_wide_as_their_texts_and_join_again():
    layout, words = laid_out()
    (mask, short), (_, long) = layout.parts(words)
    assert short.shape == (2, 4, 1) and long.shape == (2, 4, 1)  # a training batch comes in widths of four
    assert mask.tolist() == [[True, False, False, False]] * 2
    assert [part.shape[:2] for _, part in Layout.of(np.array([1, 1, 3, 4]), [2]).parts(words)] == [(2, 1), (2, 4)]
    assert layout.joined([short, long])[:9].equal(words[:9])


def test_first_and_last_words_are_known():
    layout, _ = laid_out()
    assert layout.first.nonzero().flatten().tolist() == [0, 1, 2, 5]
    assert layout.last.nonzero().flatten().tolist() == [0, 1, 4, 8]


@pytest.mark.parametrize("own", [slice(0, 4), slice(1, 3), slice(3, 9), slice(0, 1)])
def test_some_rows_are_laid_out_as_they_were(own):
    layout, words = laid_out()
    rows = layout.rows(own)
    assert rows.mask.equal(layout.mask[own])  # as wide as the whole, so that outputs of rows can be put together
    begin = int(layout.lengths[: own.start].sum())
    assert rows.padded(words[begin:])[rows.mask].equal(layout.padded(words)[own][rows.mask])


def test_gradients_come_back_to_their_words_alone():
    layout, words = laid_out()
    words.requires_grad_()
    parts = [torch.where(mask[..., None], part, 0) for mask, part in layout.parts(words)]
    (layout.joined(parts)[:9] * torch.arange(1.0, 10)[:, None]).sum().backward()
    assert words.grad[:9].flatten().tolist() == list(range(1, 10))
    assert not words.grad[9:].any()


def test_texts_are_cut_into_parts_with_the_least_padding():
    order, cuts = by_length([np.zeros(length) for length in [5, 1, 9, 5, 1, 1]])
    assert order.tolist() == [1, 4, 5, 0, 3, 2]
    assert cuts == [3, 5]  # 3 * 4 + 2 * 8 + 12 words
    assert by_length([np.zeros(2)] * 4)[1] == []  # nothing to gain


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_other_cut_has_less_padding(seed):
    lengths = np.random.default_rng(seed).integers(1, 24, 20)
    order, cuts = by_length([np.zeros(length) for length in lengths])
    widths = np.sort(-(-lengths // 4) * 4)

    def padded(at) -> int:
        return sum(len(part) * part.max() for part in np.split(widths, at))

    others = (at for parts in range(PARTS) for at in itertools.combinations(range(3, len(lengths), 3), parts))
    assert padded(cuts) == min(map(padded, others))
    assert sorted(order) == list(range(len(lengths)))
