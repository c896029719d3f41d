"""Many small files kept as one uncompressed tar whose bytes depend on their names and contents alone."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Collection
from pathlib import Path

from unimr.errors import UnimrError


def add_member(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    """Append one file; owner, mode and time are always the same."""
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))


def read_members(path: Path, names: Collection[str]) -> dict[str, bytes]:
    """Contents of those of the named files that the archive has, in one pass over it.

    Raises:
        UnimrError: the archive is missing or damaged.
    """
    wanted = set(names)
    found = {}
    try:
        with tarfile.open(path) as archive:
            for entry in archive:
                member = archive.extractfile(entry) if entry.name in wanted else None
                if member is not None:
                    found[entry.name] = member.read()
    except FileNotFoundError as error:
        raise UnimrError(f"{path} does not exist. Run `dvc repro` to make it.") from error
    except (tarfile.TarError, OSError) as error:
        raise UnimrError(f"{path} is damaged ({error}). Remove it and run `dvc repro` to make it anew.") from error
    return found
