from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from unimr.training.losses.proxy import ProxyLoss


def loss_with(proxies: torch.Tensor, dims: list[int], inverse_temperature: float) -> ProxyLoss:
    loss = ProxyLoss(len(proxies), proxies.shape[1], dims)
    with torch.no_grad():
        loss.proxies.copy_(proxies)
        loss.log_inverse_temperature.fill_(math.log(inverse_temperature))
    return loss


def test_value_is_the_softmax_cross_entropy_of_the_cosines():
    loss = loss_with(torch.eye(3), [3], 2.0)
    value = loss(torch.eye(3)[:1], torch.eye(3)[:1])
    assert value.item() == pytest.approx(-2 + math.log(math.exp(2) + 2))


def test_length_of_the_vectors_does_not_matter():
    loss, targets = loss_with(torch.eye(3), [3], 2.0), torch.eye(3)[:2]
    vectors = F.normalize(torch.tensor([[1.0, 2.0, 0.5], [0.3, 0.1, 0.9]]), dim=-1)
    before = loss(vectors, targets).item()
    with torch.no_grad():
        loss.proxies.mul_(7.0)
    assert loss(5 * vectors, targets).item() == pytest.approx(before, rel=1e-5)


def test_a_text_of_two_items_is_pulled_to_both_and_pushed_from_neither():
    loss, half = loss_with(torch.eye(3), [3], 2.0), torch.tensor([[0.5, 0.5, 0.0]])
    between = F.normalize(torch.tensor([[1.0, 1.0, 0.0]]), dim=-1)
    expected = math.log(2 * math.exp(2 / math.sqrt(2)) + 1) - 2 / math.sqrt(2)
    assert loss(between, half).item() == pytest.approx(expected, rel=1e-5)
    loss(between, half).backward()
    first, second, _ = (-loss.proxies.grad).unbind()
    assert float(first[1]) > 0
    assert float(first[1]) == pytest.approx(float(second[0]), abs=1e-6)


def test_value_is_the_mean_over_the_leading_dimensions():
    torch.manual_seed(0)
    proxies, vectors = torch.randn(5, 8), F.normalize(torch.randn(4, 8), dim=-1)
    targets = torch.eye(5)[:4]
    apart = [loss_with(proxies[:, :dim], [dim], 4.0)(vectors[:, :dim], targets).item() for dim in (4, 8)]
    assert loss_with(proxies, [4, 8], 4.0)(vectors, targets).item() == pytest.approx(sum(apart) / 2, rel=1e-5)


def test_descent_finds_the_items():
    torch.manual_seed(0)
    loss, vectors = ProxyLoss(6, 4, [2, 4]), torch.randn(6, 4, requires_grad=True)
    optimizer = torch.optim.SGD([vectors, *loss.parameters()], lr=0.5)
    first = float(loss(vectors, torch.eye(6)).detach())
    for _ in range(100):
        optimizer.zero_grad()
        value = loss(vectors, torch.eye(6))
        value.backward()
        optimizer.step()
    assert float(value.detach()) < first / 3
    assert loss.log_inverse_temperature.grad is not None


def test_the_temperature_is_bounded():
    loss = loss_with(torch.eye(2), [2], 100.0)  # the inverse of the default min_temperature
    before = loss(torch.tensor([[0.6, 0.8]]), torch.eye(2)[:1]).item()
    with torch.no_grad():
        loss.log_inverse_temperature.fill_(50.0)
    assert loss(torch.tensor([[0.6, 0.8]]), torch.eye(2)[:1]).item() == pytest.approx(before)


def test_leading_dimensions_beyond_the_width_are_refused():
    with pytest.raises(ValueError, match=r"matryoshka_dims \[4, 16\] must not exceed dim = 8"):
        ProxyLoss(3, 8, [4, 16])


def test_a_floor_under_the_temperature_asks_for_more_than_being_nearest():
    loss = ProxyLoss(2, 2, [2], min_temperature=0.5)
    with torch.no_grad():
        loss.proxies.copy_(torch.eye(2))
        loss.log_inverse_temperature.fill_(50.0)
    value = loss(torch.tensor([[0.8, 0.6]]), torch.eye(2)[:1]).item()
    assert value == pytest.approx(math.log(1 + math.exp(2 * (0.6 - 0.8))))


def test_an_excluded_item_neither_attracts_nor_repels():
    loss, vectors = ProxyLoss(3, 4, [4]), torch.nn.functional.normalize(torch.randn(1, 4), dim=-1)
    loss(vectors, torch.tensor([[1.0, 0.0, -1.0]])).backward()
    gradients = loss.proxies.grad.abs().sum(1)
    assert gradients[0] > 0 and gradients[1] > 0 and gradients[2] == 0


def test_a_row_of_zeros_does_not_count():
    loss, vectors = ProxyLoss(3, 4, [2, 4]), torch.nn.functional.normalize(torch.randn(3, 4), dim=-1)
    targets = torch.tensor([[0.0, 1, 0], [0, 0, 0], [0.5, 0, 0.5]])
    assert torch.allclose(loss(vectors, targets), loss(vectors[[0, 2]], targets[[0, 2]]))
    assert float(loss(vectors, torch.zeros(3, 3)).detach()) == 0
