"""Publishing: versions in folders of their own, and one small file that says which is live.

`published/versions/<version>/` never changes once it stands. `published/current.json` names the live version, the
ones before it, those that were built and kept back, and those that a person withdrew; it is replaced in one step, so
that a process killed at any moment leaves the old or the new version live.
On a server the collections of a version carry its name, and an alias a collection follows for other clients.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
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
class Switch:
    """The version that was live, and the one that is live now."""

    before: str
    after: str


@dataclass(frozen=True)
class _Pointer:
    """What `published/current.json` says; see `history`, `versions` and `withdrawn`."""

    history: list[str]
    versions: list[str]
    withdrawn: dict[str, str]


def versions_folder(root: Path) -> Path:
    """Where the versions stand."""
    return root / PUBLISHED / "versions"


def history(root: Path) -> list[str]:
    """Published versions, oldest first; the last one is live. Empty where nothing was published."""
    return _read_pointer(root).history


def versions(root: Path) -> list[str]:
    """Versions that stand, published or kept back, by when that was last decided, oldest first."""
    return [version for version in _read_pointer(root).versions if (versions_folder(root) / version).exists()]


def withdrawn(root: Path) -> dict[str, str]:
    """Versions that a person withdrew by a rollback → the versions of their models."""
    return _read_pointer(root).withdrawn


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
    model = verify_version(versions_folder(root) / version)["model_version"]
    published = [each for each in history(root) if each != version]
    others = {each: its for each, its in withdrawn(root).items() if each != version and its != model}
    _settle(root, _Pointer([*published, version], versions(root), others), version, keep)


def keep_back(root: Path, version: str, keep: int) -> None:
    """Keep a version without making it live; remove versions beyond the newest `keep`. Call it inside `publishing`."""
    _settle(root, _read_pointer(root), version, keep)


def confirm(root: Path) -> None:
    """Note that the live version is what the pipeline gives now: its age counts from here.

    Raises:
        UnimrError: nothing is published.
    """
    current_version(root)
    (root / PUBLISHED / POINTER).touch()


def promote(root: Path, version: str) -> Switch:
    """Make a version live that stands, whatever the gate said of it.

    Raises:
        UnimrError: there is no such version, or it is damaged.
    """
    with publishing(root):
        before, standing = current_version(root), versions(root)
        if version not in standing:
            raise UnimrError(
                f"There is no index version {version!r} in {versions_folder(root)}. There are: "
                f"{', '.join(each + ' (live)' * (each == before) for each in standing)}."
            )
        publish(root, version, len(standing))
        return Switch(before, version)


def rollback(root: Path) -> Switch:
    """Make the version before the live one live again; the withdrawn one is not published again but by `promote`.

    Raises:
        UnimrError: there is none, or it is damaged.
    """
    with publishing(root):
        current_version(root)
        found = history(root)
        if len(found) < 2:
            raise UnimrError(f"There is no version before {found[-1]} to return to.")
        verify_version(versions_folder(root) / found[-2])
        gone = withdrawn(root) | {found[-1]: _model_of(versions_folder(root) / found[-1])}
        _point(root, _Pointer(found[:-1], versions(root), gone))
        return Switch(found[-1], found[-2])


def _model_of(folder: Path) -> str:
    """Version of the model in a version that may be damaged; empty where it cannot be told."""
    try:
        return str(read_json(folder / MANIFEST)["model_version"])
    except UnimrError:
        return ""


def _settle(root: Path, wanted: _Pointer, decided: str, keep: int) -> None:
    """Write down a decision on a version, and remove the oldest beyond `keep`; the live one and this one stay."""
    standing = [*(each for each in wanted.versions if each != decided), decided]
    spare = [each for each in standing if each not in (decided, wanted.history[-1])]
    kept = [each for each in standing if each not in spare[: max(0, len(standing) - keep)]]
    _point(root, _Pointer([each for each in wanted.history if each in kept], kept, wanted.withdrawn))
    _remove_others(root, kept)


def _read_pointer(root: Path) -> _Pointer:
    path = root / PUBLISHED / POINTER
    if not path.exists():
        return _Pointer([], [], {})
    content = read_json(path)
    return _Pointer(content["history"], content.get("versions", content["history"]), content.get("withdrawn", {}))


def _point(root: Path, pointer: _Pointer) -> None:
    live = pointer.history[-1]
    write_json(root / PUBLISHED / POINTER, {"version": live} | asdict(pointer))
    uri = read_json(versions_folder(root) / live / MANIFEST)["uri"]
    if uri:
        with Store(uri) as store:
            for spec in COLLECTIONS:
                store.point_alias(f"unimr_{spec.name}", collection_name(live, spec))
    log.info("The live index is %s", live)


def _remove_others(root: Path, kept: list[str]) -> None:
    """Remove versions that the pointer no longer names. Processes that search them have copies of their own."""
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
