from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from unimr.training.optim import RowwiseAdagrad, parameter_groups, schedule


def dense_reference(table: torch.Tensor, squares: torch.Tensor, gradient: torch.Tensor, rate: float) -> None:
    """The same optimiser with a dense gradient, row by row."""
    for row in range(len(table)):
        if gradient[row].any():
            squares[row] += (gradient[row] ** 2).mean()
            table[row] -= rate * gradient[row] / (squares[row].sqrt() + 1e-8)


def test_rowwise_adagrad_is_adagrad_with_a_mean_square_a_row():
    torch.manual_seed(0)
    table = torch.nn.Parameter(torch.randn(10, 4))
    expected, squares = table.detach().clone(), torch.zeros(10)
    optimizer = RowwiseAdagrad([table], lr=0.1)
    for step in range(5):
        rows, weights = torch.randint(0, 10, (6,)), torch.randn(6, 4)
        optimizer.zero_grad()
        (F.embedding(rows, table, sparse=True) * weights).sum().backward()
        assert table.grad.is_sparse
        optimizer.param_groups[0]["lr"] = rate = 0.1 / (step + 1)
        optimizer.step()
        dense = torch.zeros(10, 4).index_add_(0, rows, weights)
        dense_reference(expected, squares, dense, rate)
    assert torch.allclose(table.detach(), expected, atol=1e-6)
    assert torch.allclose(optimizer.state[table]["squares"], squares, atol=1e-6)


def test_rows_without_a_gradient_stay_as_they_are():
    table = torch.nn.Parameter(torch.randn(10, 4))
    before = table.detach().clone()
    optimizer = RowwiseAdagrad([table], lr=0.1)
    F.embedding(torch.tensor([3, 7]), table, sparse=True).sum().backward()
    optimizer.step()
    changed = (table.detach() != before).any(dim=1).nonzero().flatten()
    assert changed.tolist() == [3, 7]


def test_schedule_warms_up_and_falls_by_a_cosine():
    factors = [schedule(step, steps=14, warmup_steps=4) for step in (0, 1, 3, 4, 9, 13)]
    assert factors == pytest.approx([0.25, 0.5, 1.0, 1.0, 0.5, 0.0244717], abs=1e-6)


def test_schedule_without_warm_up_begins_at_the_peak():
    assert schedule(0, steps=10, warmup_steps=0) == 1.0
    assert 0 < schedule(9, steps=10, warmup_steps=0) < 0.05


def test_weights_whose_channels_lie_last_go_without_the_fused_kernel():
    linear, conv = torch.nn.Linear(3, 2), torch.nn.Conv2d(2, 2, 3).to(memory_format=torch.channels_last)
    groups = parameter_groups([*linear.parameters(), conv.weight], {linear.bias: 0.5})
    found = {(group["scale"], group["fused"]): group["params"] for group in groups}
    assert found[1.0, True] == [linear.weight]
    assert found[0.5, True] == [linear.bias]
    assert found[1.0, False] == [conv.weight]


def test_every_group_is_updated_as_adamw_does():
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(2, 3, 3).to(memory_format=torch.channels_last)
    plain = torch.nn.Conv2d(2, 3, 3)
    plain.load_state_dict(conv.state_dict())
    ours = torch.optim.AdamW(parameter_groups(list(conv.parameters()), {}), lr=0.1, weight_decay=0.02)
    reference = torch.optim.AdamW(plain.parameters(), lr=0.1, weight_decay=0.02, foreach=False)
    for _ in range(5):
        pixels = torch.randn(4, 2, 5, 5)
        for module, optimizer in ((conv, ours), (plain, reference)):
            optimizer.zero_grad()
            module(pixels).square().sum().backward()
            optimizer.step()
    assert torch.allclose(conv.weight, plain.weight, atol=1e-5)
    assert torch.allclose(conv.bias, plain.bias, atol=1e-5)
