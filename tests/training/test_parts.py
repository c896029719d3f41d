from __future__ import annotations

import pytest
import torch
from torch import nn

from unimr.errors import UnimrError
from unimr.training.parts import load_parts, save_parts


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    save_parts(tmp_path / "part", {"a": nn.Linear(3, 2), "b": nn.BatchNorm1d(2)}, {"profile": "x"}, {"mrr": 0.5})
    return tmp_path / "part"


def test_a_part_comes_back_without_the_others(folder):
    torch.manual_seed(0)
    expected, found = nn.Linear(3, 2), nn.Linear(3, 2)
    load_parts(folder, {"a": found})
    assert torch.equal(found.weight, expected.weight)


def test_a_part_of_another_shape_is_named(folder):
    with pytest.raises(UnimrError, match=r"The part `a` in .* does not fit the model(.|\n)*dvc repro"):
        load_parts(folder, {"a": nn.Linear(4, 2)})


def test_a_missing_part_is_named(folder):
    with pytest.raises(UnimrError, match="The part `c`"):
        load_parts(folder, {"c": nn.Linear(3, 2)})


def test_damage_is_named(folder):
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "model.safetensors").write_bytes(data)
    with pytest.raises(UnimrError, match=r"model\.safetensors is damaged"):
        load_parts(folder, {"a": nn.Linear(3, 2)})


def test_a_missing_folder_says_what_to_run(tmp_path):
    with pytest.raises(UnimrError, match="dvc repro"):
        load_parts(tmp_path / "none", {"a": nn.Linear(3, 2)})
