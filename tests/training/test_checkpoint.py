from __future__ import annotations

import torch
from torch import nn

from unimr.training.checkpoint import KEPT, load_checkpoint, save_checkpoint
from unimr.training.optim import RowwiseAdagrad


class Small(nn.Module):
    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.table, self.dense = nn.Embedding(6, 4, sparse=True), nn.Linear(4, 2)
        self.register_buffer("counts", torch.rand(3))
        self.optimizers = [
            torch.optim.AdamW(self.dense.parameters(), lr=0.1),
            RowwiseAdagrad(self.table.parameters(), lr=0.1),
        ]

    def step(self) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        self.dense(self.table(torch.tensor([1, 3]))).square().sum().backward()
        for optimizer in self.optimizers:
            optimizer.step()


def test_weights_buffers_and_optimisers_come_back(tmp_path):
    first, second = Small(0), Small(1)
    for _ in range(3):
        first.step()
    save_checkpoint(tmp_path, 3, first, first.optimizers)
    assert load_checkpoint(tmp_path, second, second.optimizers) == 3
    for _ in range(2):
        first.step()
        second.step()
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def test_a_folder_without_checkpoints_means_step_0(tmp_path):
    module = Small(0)
    assert load_checkpoint(tmp_path / "none", module, module.optimizers) == 0


def test_only_the_last_ones_are_kept_in_the_order_of_their_steps(tmp_path):
    module = Small(0)
    for step in (1, 2, 10, 11):
        save_checkpoint(tmp_path, step, module, module.optimizers)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000010", "step-00000011"]
    assert KEPT == 2


def test_half_written_folders_are_not_taken_for_checkpoints(tmp_path):
    module = Small(0)
    save_checkpoint(tmp_path, 4, module, module.optimizers)
    (tmp_path / "step-00000004").rename(tmp_path / "step-00000005.tmp-123")
    assert load_checkpoint(tmp_path, module, module.optimizers) == 0


def test_the_same_state_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        module = Small(0)
        module.step()
        save_checkpoint(tmp_path / name, 1, module, module.optimizers)
    files = ("state.safetensors", "manifest.json")
    assert all(
        (tmp_path / "a/step-00000001" / name).read_bytes() == (tmp_path / "b/step-00000001" / name).read_bytes()
        for name in files
    )
