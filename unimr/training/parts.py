"""What one training stage hands to the next: a folder with the weights of some modules, a manifest and metrics."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save
from torch import nn

from unimr.errors import UnimrError
from unimr.files import atomic_folder, write_json
from unimr.model.hf import HfEncoder
from unimr.model.manifest import WEIGHTS, verify_manifest, write_manifest


def save_parts(
    folder: Path, modules: Mapping[str, nn.Module], notes: dict[str, Any], metrics: dict[str, float]
) -> None:
    """Write the weights of named modules as one safetensors file, with metrics and manifest, atomically.

    What a pretrained encoder is built from goes into a folder of its name.
    """
    weights = {
        f"{part}/{name}": value.detach().cpu().contiguous()
        for part, module in modules.items()
        for name, value in module.state_dict().items()
    }
    with atomic_folder(folder) as temporary:
        (temporary / WEIGHTS).write_bytes(save(weights))  # save_file would hide that the disk is full
        write_json(temporary / "metrics.json", metrics)
        for part, module in modules.items():
            if isinstance(module, HfEncoder):
                module.save_files(temporary / part)
        write_manifest(temporary, notes)


def load_parts(folder: Path, modules: Mapping[str, nn.Module]) -> None:
    """Load named modules from a folder written by `save_parts`; parts that are not asked for are left out.

    Raises:
        UnimrError: the folder is missing or damaged, or a part is missing or does not fit.
    """
    verify_manifest(folder)
    weights = load_file(folder / WEIGHTS)
    for part, module in modules.items():
        found = {name.removeprefix(f"{part}/"): value for name, value in weights.items() if name.startswith(f"{part}/")}
        try:
            module.load_state_dict(found)
        except RuntimeError as error:
            raise UnimrError(
                f"The part `{part}` in {folder} does not fit the model that params.yaml describes ({error}). "
                "Run `dvc repro` so that every stage is trained with the same `model` section."
            ) from error
