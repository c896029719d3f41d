"""`manifest.json` of a model folder: the SHA-256 of every file, checked before anything is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unimr.errors import UnimrError
from unimr.files import read_json, sha256_of, write_json

MANIFEST = "manifest.json"
WEIGHTS = "model.safetensors"
TEXT_MODEL = "text_model"
"""Folder of the text half in an exported model."""


def write_manifest(folder: Path, notes: dict[str, Any]) -> None:
    """Write the manifest of all files in a folder; `notes` say what the model was made from."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    hashes = {path.relative_to(folder).as_posix(): sha256_of(path) for path in files}
    write_json(folder / MANIFEST, {"files": hashes, "notes": notes})


def verify_manifest(folder: Path) -> dict[str, Any]:
    """Check every file of a model folder against its manifest and return the manifest.

    Raises:
        UnimrError: the folder, the manifest or a file is missing, or a file differs from its hash.
    """
    if not (folder / MANIFEST).exists():
        raise UnimrError(f"There is no model in {folder} (no {MANIFEST}). Run `dvc repro` to train one.")
    manifest: dict[str, Any] = read_json(folder / MANIFEST)
    if not isinstance(manifest.get("files"), dict):
        raise UnimrError(f"{folder / MANIFEST} is damaged: it lists no files. Run `dvc checkout` to restore it.")
    for name, expected in manifest["files"].items():
        path = folder / name
        if not path.exists():
            raise UnimrError(f"The model file {path} is missing. Run `dvc checkout` to restore it.")
        if sha256_of(path) != expected:
            raise UnimrError(
                f"The model file {path} is damaged: its SHA-256 is not the one in {MANIFEST}. It was not loaded. "
                "Remove the folder and run `dvc checkout`, or `dvc repro` if the cache is damaged too."
            )
    return manifest


def model_version(folder: Path) -> str:
    """Version of a saved model: the first 12 hexadecimal characters of the hash of its weights."""
    version: str = read_json(folder / MANIFEST)["files"][WEIGHTS]
    return version[:12]
