"""Publishing: versions in folders of their own, and one small file that says which is live.

`published/versions/<version>/` never changes once it stands. `published/current.json` names the live version and the
ones before it; it is replaced in one step, so that a process killed at any moment leaves the old or the new version.
On a server the collections of a version carry its name, and an alias a collection follows for other clients.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unimr.errors import UnimrError
from unimr.files import read_json, sha256_of, write_json
from unimr.index.schema import COLLECTIONS, CollectionSpec
from unimr.index.store import Store

log = logging.getLogger(__name__)

PUBLISHED = Path("published")
POINTER = "current.json"
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Rollback:
    """What a rollback did: the version that was live, and the one that is live now."""

    before: str
    after: str


def versions_folder(root: Path) -> Path:
    """Where the versions stand."""
    return root / PUBLISHED / "versions"


def history(root: Path) -> list[str]:
    """Published versions, oldest first; the last one is live. Empty where nothing was published."""
    pointer = root / PUBLISHED / POINTER
    if not pointer.exists():
        return []
    content = read_json(pointer)
    found: list[str] = content["history"]
    return found


def current_version(root: Path) -> str:
    """The live version.

    Raises:
        UnimrError: nothing was published yet.
    """
    found = history(root)
    if not found:
        raise UnimrError(
            f"There is no index in {root / PUBLISHED}. Run `dvc repro` to build one, or `unimr stage index` where "
            "everything else is up to date (after `dvc pull`)."
        )
    return found[-1]


def collection_name(version: str, spec: CollectionSpec) -> str:
    """Name of a collection of a version."""
    return f"unimr_{version}_{spec.name}"


def write_version_manifest(folder: Path, notes: dict[str, Any]) -> None:
    """Write the manifest of a version: `notes` and the SHA-256 of every file in it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST)
    hashes = {path.relative_to(folder).as_posix(): sha256_of(path) for path in files}
    write_json(folder / MANIFEST, notes | {"files": hashes})


def verify_version(folder: Path) -> dict[str, Any]:
    """Check every file of a version but the model's (checked when it is loaded) and return the manifest.

    Raises:
        UnimrError: the version or a file of it is missing or damaged.
    """
    if not (folder / MANIFEST).exists():
        raise UnimrError(
            f"The index version {folder} is missing. Run `dvc repro --force index` to build it, or `unimr rollback`."
        )
    manifest: dict[str, Any] = read_json(folder / MANIFEST)
    for name, expected in manifest["files"].items():
        path = folder / name
        if not path.exists() or (not name.startswith("model/") and sha256_of(path) != expected):
            raise UnimrError(
                f"The index file {path} is missing or damaged. Run `unimr rollback` to return to the version before, "
                f"or remove {folder} and run `dvc repro --force index` to build it anew."
            )
    return manifest


@contextmanager
def publishing(root: Path) -> Iterator[None]:
    """Hold the right to build and publish: one process at a time; others wait.

    Folders that a killed build left behind are removed first.
    """
    folder = versions_folder(root)
    folder.mkdir(parents=True, exist_ok=True)
    with (root / PUBLISHED / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in folder.glob("*.tmp-*"):
            shutil.rmtree(left)
        yield


def publish(root: Path, version: str, keep: int) -> None:
    """Make a version live and remove versions beyond the newest `keep`. Call it inside `publishing`.

    Raises:
        UnimrError: the version is missing or damaged.
    """
    manifest = verify_version(versions_folder(root) / version)
    found = [each for each in history(root) if each != version]
    _point(root, [*found, version][-keep:], manifest)
    _remove_old(root)


def rollback(root: Path) -> Rollback:
    """Make the version before the live one live again.

    Raises:
        UnimrError: there is none, or it is damaged.
    """
    with publishing(root):
        current_version(root)
        found = history(root)
        if len(found) < 2:
            raise UnimrError(f"There is no version before {found[-1]} to return to.")
        manifest = verify_version(versions_folder(root) / found[-2])
        _point(root, found[:-1], manifest)
        return Rollback(found[-1], found[-2])


def _point(root: Path, found: list[str], manifest: dict[str, Any]) -> None:
    write_json(root / PUBLISHED / POINTER, {"version": found[-1], "history": found})
    if manifest["uri"]:
        with Store(manifest["uri"]) as store:
            for spec in COLLECTIONS:
                store.point_alias(f"unimr_{spec.name}", collection_name(found[-1], spec))
    log.info("The live index is %s", found[-1])


def _remove_old(root: Path) -> None:
    """Remove versions that the history no longer names. Processes that search them have copies of their own."""
    kept = set(history(root))
    for folder in versions_folder(root).iterdir():
        if folder.name in kept:
            continue
        uri = read_json(folder / MANIFEST)["uri"]
        if uri:
            with Store(uri) as store:
                for name in {collection_name(folder.name, spec) for spec in COLLECTIONS} & set(store.collections()):
                    store.drop(name)
        left = folder.rename(folder.with_name(f"{folder.name}.old.tmp-{os.getpid()}"))  # whole or gone, never half
        shutil.rmtree(left)
