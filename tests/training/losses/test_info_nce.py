from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from unimr.training.losses.info_nce import InfoNCELoss


def loss_at(inverse_temperature: float) -> InfoNCELoss:
    loss = InfoNCELoss()
    with torch.no_grad():
        loss.log_inverse_temperature.fill_(math.log(inverse_temperature))
    return loss


def test_value_of_orthogonal_pairs():
    value = loss_at(2.0)(torch.eye(3), torch.eye(3), torch.arange(3))
    assert value.item() == pytest.approx(-2 + math.log(math.exp(2) + 2))


def test_both_directions_count_the_same():
    torch.manual_seed(0)
    left, right = (F.normalize(torch.randn(4, 6), dim=-1) for _ in range(2))
    loss = loss_at(5.0)
    there, back = loss(left, right, torch.arange(4)), loss(right, left, torch.arange(4))
    assert there.item() == pytest.approx(back.item())
    logits = 5.0 * left @ right.T
    by_hand = (F.cross_entropy(logits, torch.arange(4)) + F.cross_entropy(logits.T, torch.arange(4))) / 2
    assert there.item() == pytest.approx(by_hand.item(), rel=1e-5)


def test_two_pairs_of_an_item_are_not_each_others_negatives():
    torch.manual_seed(0)
    left = F.normalize(torch.randn(3, 6), dim=-1).requires_grad_()
    right = F.normalize(torch.randn(3, 6), dim=-1).requires_grad_()
    loss_at(5.0)(left, right, torch.tensor([0, 1, 1])).backward()
    # Row 1 sees itself and item 0 only: the third right half leaves no trace in its gradient.
    others = right.detach()[[0, 1]]
    plane = torch.linalg.lstsq(others.T, left.grad[1]).solution
    assert torch.allclose(others.T @ plane, left.grad[1], atol=1e-5)
    assert float(left.grad[1].abs().max()) > 0


def test_a_batch_of_one_item_has_nothing_to_learn():
    vectors = F.normalize(torch.randn(4, 6), dim=-1)
    assert loss_at(5.0)(vectors, vectors.flip(0), torch.zeros(4)).item() == pytest.approx(0, abs=1e-5)


def test_gradient_reaches_both_halves_and_the_temperature():
    left, right = torch.randn(4, 6, requires_grad=True), torch.randn(4, 6, requires_grad=True)
    loss = InfoNCELoss()
    loss(left, right, torch.arange(4)).backward()
    for value in (left, right, loss.log_inverse_temperature):
        assert float(value.grad.abs().sum()) > 0


def test_a_left_half_has_no_negatives_among_the_right_halves_of_its_further_items():
    torch.manual_seed(0)
    left, right = (F.normalize(torch.randn(3, 6), dim=-1) for _ in range(2))
    items = torch.arange(3)
    related = torch.eye(3, dtype=torch.bool)
    plain = loss_at(5.0)(left, right, items)
    assert torch.equal(loss_at(5.0)(left, right, items, related), plain)
    related[0, 2] = True
    logits = (5.0 * left @ right.T).masked_fill(related & ~torch.eye(3, dtype=torch.bool), -1e4)
    by_hand = (F.cross_entropy(logits, items) + F.cross_entropy(logits.T, items)) / 2
    assert loss_at(5.0)(left, right, items, related).item() == pytest.approx(by_hand.item(), rel=1e-5)
