"""A real Postgres for tests, from Debian's packages, in a folder that pytest removes."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
# Postgres does not run as root: where the tests do, it runs as its own user.
USER = {"user": "postgres"} if os.geteuid() == 0 else {}


class Postgres:
    """A server on this machine; any local user is let in."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port, self._databases = folder, port, 0

    @classmethod
    @contextmanager
    def started(cls, factory: pytest.TempPathFactory) -> Iterator[Postgres]:
        pytest.importorskip("psycopg", reason="the driver of Postgres is not installed: pip install 'unimr[postgres]'")
        if not PROGRAMS:
            pytest.skip("there is no Postgres here: apt-get install postgresql")
        folder = Path(subprocess.check_output(["mktemp", "-d"], text=True).strip())  # pytest's are closed to others
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            server = cls(folder, free.getsockname()[1])
        if USER:
            shutil.chown(folder, "postgres")
        try:
            server._do("initdb", "-A", "trust", "-U", "ann", "-E", "UTF8", "--locale=C", "--no-sync")
            server.start()
            yield server
            server.stop()
        finally:
            shutil.rmtree(folder)

    def start(self) -> None:
        options = f"-h 127.0.0.1 -p {self.port} -k {self.folder} -c fsync=off"
        self._do("pg_ctl", "-w", "-o", options, "-l", str(self.folder / "log"), "start")

    def stop(self) -> None:
        self._do("pg_ctl", "-w", "-m", "immediate", "stop")

    def new_database(self) -> str:
        """The URL of a new, empty database."""
        self._databases += 1
        name = f"unimr{self._databases}"
        self._do("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "ann", name, in_folder=False)
        return f"postgresql://ann@127.0.0.1:{self.port}/{name}"

    def _do(self, program: str, *arguments: str, in_folder: bool = True) -> None:
        place = ["-D", str(self.folder / "data")] if in_folder else []
        subprocess.run(
            [PROGRAMS[-1] / program, *place, *arguments], check=True, cwd="/", stdout=subprocess.DEVNULL, **USER
        )
