"""A real Milvus standalone server for tests, from the wheel `milvus`."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def milvus_server() -> Iterator:
    """A running server with data of its own."""
    wheel = pytest.importorskip("milvus", reason="no Milvus server here: pip install --no-deps milvus==2.3.5")
    with tempfile.TemporaryDirectory(prefix="milvus-") as folder:
        server = wheel.MilvusServer(wheel.MilvusServerConfig(data_dir=folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()


def uri_of(server) -> str:
    return f"http://127.0.0.1:{server.listen_port}"


@contextmanager
def hanging(server) -> Iterator[None]:
    """A server that answers nothing in this block."""
    server.server_proc.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.server_proc.send_signal(signal.SIGCONT)
