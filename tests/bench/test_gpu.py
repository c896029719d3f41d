from __future__ import annotations

import subprocess
import sys

import torch

from unimr.files import read_json

from .towers import SIZES, ImageTower, PairTask, TextTower, flops_of_a_pair, plain_loss


def test_every_case_is_measured_on_any_device(tmp_path):
    out = tmp_path / "gpu.json"
    command = [sys.executable, "-m", "tests.bench.gpu", "--size", "tiny", "--steps", "2", "--out", str(out), "--cases"]
    subprocess.run([*command, "8:0", "8:4"], check=True, capture_output=True)
    found = read_json(out)
    assert [(case["kind"], case["batch"], case["chunk"]) for case in found["cases"]] == [
        ("ours", 8, 0), ("plain", 8, 0), ("ours", 8, 4),
    ]  # fmt: skip
    for case in found["cases"]:
        assert case["samples_per_second"] > 0 and case["peak_memory_mb"] > 0 and 0 <= case["data_share"] < 1


def test_both_steps_have_the_same_loss():
    task = PairTask(SIZES["tiny"], 6, 4)
    import numpy as np

    batch = task.batch(np.random.default_rng(0))
    with torch.no_grad():
        assert torch.allclose(task(batch)[0], plain_loss(task.module, batch, torch.device("cpu")), atol=1e-5)


def test_operations_are_those_that_torch_counts():
    from torch.utils.flop_counter import FlopCounterMode

    size = SIZES["tiny"]
    towers = TextTower(size), ImageTower(size)
    inputs = torch.full((1, size.tokens), 7), torch.zeros(1, 3, size.side, size.side, dtype=torch.uint8)
    with FlopCounterMode(display=False) as counter:
        for tower, given in zip(towers, inputs, strict=True):
            tower(given)
    assert 0.9 < flops_of_a_pair(size) / 3 / counter.get_total_flops() < 1.1
