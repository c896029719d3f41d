"""Writing files so that nothing is ever half-written: temporary name, fsync, rename."""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unimr.errors import UnimrError


def fsync_path(path: Path) -> None:
    """Force a file or a folder entry to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _explaining_a_full_disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UnimrError(
            f"No space is left on the disk while writing {path}. Nothing was changed there. "
            "Free some space (`dvc gc --workspace` drops old cached versions) and run the same command again."
        ) from error


def _remove_abandoned(path: Path) -> None:
    """Remove the temporary siblings of `path` that killed processes left behind."""
    for left in path.parent.glob(f"{glob.escape(path.name)}.*tmp-*"):
        number = left.name.rpartition("-")[2]
        if number.isdigit() and not _is_running(int(number)):
            shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it runs, and is another user's
        return True
    return True


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; when the block ends well, it replaces `path` in one step.

    Raises:
        UnimrError: the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(path)
    temporary = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    try:
        with _explaining_a_full_disk(path):
            yield temporary
            fsync_path(temporary)
            temporary.replace(path)
            fsync_path(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside `path`; when the block ends well, it takes the place of `path`.

    Every file in it is fsynced first. An older folder of that name is moved aside and removed only after the
    new one stands in its place.

    Raises:
        UnimrError: the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(path)
    temporary = path.with_name(f"{path.name}.tmp-{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        with _explaining_a_full_disk(path):
            yield temporary
            for entry in sorted(temporary.rglob("*"), reverse=True):
                fsync_path(entry)
            fsync_path(temporary)
            old = path.with_name(f"{path.name}.old.tmp-{os.getpid()}")
            if path.exists():
                path.rename(old)
            temporary.rename(path)
            fsync_path(path.parent)
            shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, as UTF-8."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically, with sorted keys and a final newline: the same value gives the same bytes."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        UnimrError: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UnimrError(f"{path} does not exist. Run `dvc repro` to make it.") from error
    except ValueError as error:
        raise UnimrError(f"{path} is not valid JSON ({error}). Remove it and run `dvc repro`.") from error


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
