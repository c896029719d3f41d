"""The embedding cache: vectors by content hash, so that stage `embed` encodes only what is new.

`.work/embed/` holds a safetensors file a collection (SHA-256 of the content → vector) and `manifest.json`: what made
the vectors (the model's version, the batch size), the SHA-256 of the files, and how many contents the last run encoded
and reused. Only what the last run asked for is kept: what left the catalogue and vectors of other models are dropped.
A cache that is damaged is ignored and made anew.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from unimr.errors import UnimrError
from unimr.files import atomic_folder, read_json, sha256_of, write_json

log = logging.getLogger(__name__)

CACHE = Path(".work/embed")
MANIFEST = "manifest.json"

Content = TypeVar("Content", str, bytes)
Vectors = dict[bytes, np.ndarray]


class EmbeddingCache:
    """What was embedded before by the same maker (`made_by`, compared as a whole), and what is embedded now.

    A vector must depend on its content and its maker alone, not on what is encoded beside it: the functions given
    to `encode` see to that, so that a reused vector has the bytes that encoding anew would give.
    """

    def __init__(self, root: Path, made_by: dict[str, Any], dim: int) -> None:
        self._folder, self._made_by, self._dim = root / CACHE, made_by, dim
        self._before = self._load()
        self._now: dict[str, Vectors] = {}
        self.counts: dict[str, dict[str, int]] = {}
        """Collection → `encoded` and `reused`: different contents, not rows."""

    def encode(
        self, collection: str, contents: Sequence[Content], encode: Callable[[list[Content]], np.ndarray]
    ) -> np.ndarray:
        """Vectors of contents `[contents, dim]`; `encode` is asked once for each of those that are new."""
        keys = [hashlib.sha256(each.encode() if isinstance(each, str) else each).digest() for each in contents]
        of_key = dict(zip(keys, contents, strict=True))
        known = self._before.get(collection, {})
        new = [key for key in of_key if key not in known]
        fresh = dict(zip(new, encode([of_key[key] for key in new]), strict=True)) if new else {}
        now = self._now[collection] = {key: fresh[key] if key in fresh else known[key] for key in of_key}
        self.counts[collection] = {"encoded": len(new), "reused": len(of_key) - len(new)}
        return np.stack([now[key] for key in keys]) if keys else np.zeros((0, self._dim), np.float32)

    def save(self) -> None:
        """Keep the vectors that were asked for, and no others.

        Raises:
            UnimrError: the disk is full.
        """
        from safetensors.numpy import save

        with atomic_folder(self._folder) as folder:
            for collection, vectors in self._now.items():
                keys = np.frombuffer(b"".join(vectors), np.uint8).reshape(len(vectors), hashlib.sha256().digest_size)
                rows = np.stack(list(vectors.values())) if vectors else np.zeros((0, self._dim), np.float32)
                (folder / f"{collection}.safetensors").write_bytes(save({"keys": keys, "vectors": rows}))
            files = {path.name: sha256_of(path) for path in sorted(folder.iterdir())}
            write_json(folder / MANIFEST, {"made_by": self._made_by, "files": files, "last_run": self.counts})

    def _load(self) -> dict[str, Vectors]:
        if not self._folder.exists():
            return {}
        try:
            manifest = read_json(self._folder / MANIFEST)
            if manifest["made_by"] != self._made_by:
                return {}
            files: dict[str, str] = manifest["files"]
            return {Path(name).stem: self._read(self._folder / name, expected) for name, expected in files.items()}
        except (UnimrError, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            log.warning("The embedding cache %s is damaged (%s): everything is embedded anew.", self._folder, error)
            return {}

    def _read(self, path: Path, expected: str) -> Vectors:
        from safetensors.numpy import load_file

        if sha256_of(path) != expected:
            raise ValueError(f"the SHA-256 of {path.name} is not the one in {MANIFEST}")
        arrays = load_file(path)
        if arrays["vectors"].shape[1] != self._dim:
            raise ValueError(f"{path.name} has {arrays['vectors'].shape[1]} dimensions, the model has {self._dim}")
        return {key.tobytes(): vector for key, vector in zip(arrays["keys"], arrays["vectors"], strict=True)}


def last_counts(root: Path) -> dict[str, dict[str, int]]:
    """How many contents of each collection the last embedding encoded and reused.

    Raises:
        UnimrError: nothing was embedded here, or the cache is damaged.
    """
    manifest: dict[str, Any] = read_json(root / CACHE / MANIFEST)
    counts: dict[str, dict[str, int]] = manifest["last_run"]
    return counts
