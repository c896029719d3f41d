from __future__ import annotations

import subprocess
import sys

import torch
from torch import nn

from unimr.model.retriever import UnifiedRetriever
from unimr.model.unfilled import unfilled


def test_weights_have_no_memory_and_nothing_is_drawn(model_params):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    with unfilled():
        model = UnifiedRetriever(model_params)
    assert all(weight.is_meta for weight in model.parameters())
    assert torch.equal(torch.get_rng_state(), before)


def test_outside_of_it_weights_are_drawn():
    with unfilled():
        pass
    assert nn.Linear(8, 8).weight.abs().sum() > 0


def test_loading_a_model_imports_no_compiler(model, tmp_path):
    model.save(tmp_path / "model", {}, {})
    code = (
        "import sys; from pathlib import Path; from unimr.model.retriever import UnifiedRetriever\n"
        "UnifiedRetriever.load(Path(sys.argv[1])); print(sorted({'torch._dynamo', 'sympy'} & sys.modules.keys()))"
    )
    said = subprocess.run([sys.executable, "-c", code, str(tmp_path / "model")], capture_output=True, text=True)
    assert (said.returncode, said.stdout) == (0, "[]\n"), said.stderr
