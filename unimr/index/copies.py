"""Private copies of a published store.

Milvus Lite lets one process open a folder and has no read-only mode. A published version is never opened itself:
every process searches a copy of its own, in `published/open/`, so that any number of them run side by side and
nothing can change the published files. A copy is locked while its process lives, so that the copies of processes
that were killed are recognised and removed by the next one.
"""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from pathlib import Path
from typing import IO

from unimr.errors import UnimrError


class PrivateCopy:
    """A copy of a folder that belongs to this process until `close`.

    Raises:
        UnimrError: the copy cannot be written.
    """

    def __init__(self, source: Path, place: Path) -> None:
        try:
            place.mkdir(parents=True, exist_ok=True)
            remove_abandoned(place)
            self._lock, self._base = _reserve(place)
            self.path = self._base / source.name
            shutil.copytree(source, self.path)
        except OSError as error:
            raise UnimrError(
                f"The index cannot be opened: a copy of {source} cannot be written to {place} ({error}). "
                "Free some space, or give this user the right to write there."
            ) from error

    def close(self) -> None:
        """Remove the copy."""
        shutil.rmtree(self._base, ignore_errors=True)
        Path(self._lock.name).unlink(missing_ok=True)
        self._lock.close()


def remove_abandoned(place: Path) -> None:
    """Remove the copies in `place` whose process is gone."""
    for path in place.glob("*.lock"):
        try:
            lock = path.open("r+")
        except FileNotFoundError:  # another process was quicker
            continue
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # its process lives
                continue
            shutil.rmtree(path.with_suffix(""), ignore_errors=True)
            path.unlink(missing_ok=True)


def _reserve(place: Path) -> tuple[IO[bytes], Path]:
    """A new folder and its held lock; the lock is taken before the folder exists, so that nobody removes it."""
    while True:
        lock = tempfile.NamedTemporaryFile(dir=place, suffix=".lock", delete=False)  # noqa: SIM115 (held until close)
        fcntl.flock(lock, fcntl.LOCK_EX)
        path = Path(lock.name)
        if path.exists():  # else it was taken for abandoned in between
            folder = path.with_suffix("")
            folder.mkdir()
            return lock, folder
        lock.close()
