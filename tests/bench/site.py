"""What is measured: a trained project, `unimr serve` over it as a process of its own, and real queries."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from unimr.config import load_params
from unimr.data.tables import read_table, table_files, write_table
from unimr.errors import UnimrError
from unimr.index.build import build
from unimr.index.embed import MODEL, TABLES, embed
from unimr.index.publish import PUBLISHED
from unimr.model.manifest import model_version
from unimr.model.retriever import UnifiedRetriever
from unimr.search.engine import load_retriever

SEED = 20260121
SHARES = {"a sentence": 0.6, "a name": 0.25, "more like a picture of the catalogue": 0.08, "a picture sent": 0.07}
"""What is asked, and how often."""
NEEDED = ("models/train_joint", "data/validated", "published", "metrics", "params.yaml", "profiles", ".work/embed")
MEGABYTE = 1e6


def queries(root: Path, count: int) -> list[dict[str, Any]]:
    """Requests for `/v1/search`: sentences in unseen phrasings, names in every language, pictures; seeded."""
    chance = random.Random(SEED)
    tables = root / TABLES
    sentences = read_table(tables, "utterances", ["text", "split"])
    names = read_table(tables, "texts", ["text", "role"])
    images = read_table(tables, "images", ["image_id", "image"])
    asked = {
        "a sentence": lambda: {"text": chance.choice(sentence_texts)},
        "a name": lambda: {"text": chance.choice(name_texts)},
        "more like a picture of the catalogue": lambda: {"image_id": chance.choice(image_ids)},
        "a picture sent": lambda: {"image": base64.b64encode(chance.choice(pictures)).decode()},
    }
    sentence_texts = sentences.loc[sentences["split"] == "test", "text"].tolist()
    name_texts = names.loc[names["role"] == "name", "text"].tolist()
    image_ids, pictures = images["image_id"].tolist(), images["image"].tolist()
    return [asked[kind]() for kind in chance.choices(list(SHARES), list(SHARES.values()), k=count)]


def bodies(asked: list[dict[str, Any]]) -> list[bytes]:
    """The requests as they are sent."""
    return [json.dumps(each, ensure_ascii=False).encode() for each in asked]


def scratch(root: Path, folder: Path) -> Path:
    """A copy of a trained project, to publish and log in."""
    if not (root / PUBLISHED / "current.json").exists():
        raise UnimrError(f"There is no trained model in {root}. Run `make demo` first.")
    for name in NEEDED:
        if (root / name).is_dir():
            shutil.copytree(root / name, folder / name, ignore=shutil.ignore_patterns("open"))
        elif (root / name).exists():
            shutil.copy2(root / name, folder / name)
    return folder


def publish_fewer(root: Path) -> str:
    """Publish a second version: the same catalogue without every tenth item (and its variants)."""
    params, tables = load_params(root), root / TABLES
    images = read_table(tables, "images")
    base = {item: values["base"] for item, values in zip(images["item_id"], images["attributes"], strict=True)}
    for name, table in (("images", images), ("texts", read_table(tables, "texts"))):
        kept = [hashlib.sha256(base.get(item, item).encode()).digest()[0] >= 26 for item in table["item_id"]]
        for file in table_files(tables, name):
            file.unlink()
        write_table(tables, name, table[kept])
    model, version = UnifiedRetriever.load(root / MODEL), model_version(root / MODEL)
    embed(params, root, model, version)
    return build(params.index, root, model, version, load_retriever)


class Served:
    """A running `unimr serve`."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.port, self._process = port, process
        self.seconds_to_end = 0.0

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            return answer.read().decode()

    def index(self) -> str:
        """The version that answers."""
        return json.loads(self.get("/readyz"))["index"]

    def metric(self, name: str) -> float:
        """A value of `/metrics`, summed over its labels."""
        lines = [line.rsplit(" ", 1) for line in self.get("/metrics").splitlines() if not line.startswith("#")]
        return sum(float(value) for key, value in lines if key.partition("{")[0] == name)

    def megabytes(self) -> float:
        """Resident memory."""
        return psutil.Process(self._process.pid).memory_info().rss / MEGABYTE

    def end(self) -> int:
        """SIGTERM; its exit status."""
        begun = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(20)
        self.seconds_to_end = time.monotonic() - begun
        return code


@contextmanager
def served(root: Path) -> Iterator[Served]:
    """The service over `root`, on a free port, ended when the block is left."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "unimr.cli", "serve", "--port", str(port)]
    process = subprocess.Popen(command, cwd=root, env=place, stdout=subprocess.DEVNULL)
    site = Served(process, port)
    try:
        while True:
            try:
                site.index()
                break
            except OSError:
                if process.poll() is not None:
                    raise UnimrError("`unimr serve` ended at its start; it said why above.") from None
                time.sleep(0.1)
        yield site
    finally:
        process.kill()
        process.wait()
