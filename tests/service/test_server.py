"""The service as a process: `unimr serve` starts, answers, and ends as it should."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import psutil
import pytest

from unimr.config import load_params
from unimr.errors import UnimrError
from unimr.service.server import serve

from ..index.small_index import PROJECT
from .test_engines import wait_until

PROGRAM = """
import sys
from pathlib import Path
import unimr.service.server as server
from tests.index.small_index import WordEncoder
from unimr.config import load_params

class Slow(WordEncoder):
    def encode_texts(self, texts):
        import time
        time.sleep(0.2)
        return super().encode_texts(texts)

service = server.Service
server.Service = lambda params, root, keys: service(params, root, keys, lambda folder: Slow())
params = load_params(Path()).serve.model_copy(update={"port": int(sys.argv[1]), "max_batch": 1})
server.serve(params, Path(), print)
"""


@pytest.fixture
def served(own_root):
    """A process that takes 0.2 s a query, one at a time; its address and itself."""
    shutil.copy(PROJECT / "params.yaml", own_root)
    shutil.copytree(PROJECT / "profiles", own_root / "profiles")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(port)], cwd=own_root, env=environment)
    address = f"http://127.0.0.1:{port}"
    wait_until(lambda: _ready(address), 60)
    yield address, process
    process.kill()
    process.wait()


def _ready(address: str) -> bool:
    try:
        return httpx.get(f"{address}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def connections(pid: int, port: int) -> int:
    """Clients connected at the moment (the vector store has connections of its own)."""
    all_of_it = psutil.Process(pid).net_connections("tcp")
    return sum(each.status == psutil.CONN_ESTABLISHED and each.laddr.port == port for each in all_of_it)


def test_sigterm_finishes_what_was_accepted_and_ends_well(served, own_root):
    address, process = served
    port = httpx.URL(address).port
    answers = []

    def ask() -> None:
        answers.append(httpx.post(f"{address}/v1/search", json={"text": "cat"}, timeout=20).status_code)

    threads = [threading.Thread(target=ask) for _ in range(5)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(answers) + connections(process.pid, port) == 5, 20)
    time.sleep(0.1)  # from the connection to its request
    started = time.monotonic()
    process.send_signal(signal.SIGTERM)
    code = process.wait(10)
    taken = time.monotonic() - started
    for thread in threads:
        thread.join()
    assert (code, answers) == (0, [200] * 5) and taken < 10
    assert not list((own_root / "published/open").glob("*"))


def test_an_address_of_the_network_without_keys_is_refused(own_root, monkeypatch):
    monkeypatch.delenv("UNIMR_API_KEYS", raising=False)
    params = load_params(PROJECT).serve.model_copy(update={"host": "0.0.0.0"})
    with pytest.raises(UnimrError, match="API keys are needed"):
        serve(params, own_root, print)
