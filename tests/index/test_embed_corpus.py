from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from unimr.errors import UnimrError
from unimr.files import sha256_of
from unimr.index.embed_corpus import embed_corpus

from .small_index import DIM, NAMES, PROJECT, VERSION, WordEncoder, picture

ROWS, A_GROUP = 40, 6
PARTS = 2 * 7
"""Two files of 40 rows, in row groups of 6."""


@pytest.fixture
def corpus(tmp_path):
    folder = tmp_path / "corpus"
    folder.mkdir()
    for name in ("a", "b"):
        texts = [f"{list(NAMES)[row % len(NAMES)]} {name} {row}" for row in range(ROWS)]
        table = pa.table({"id": [f"{name}{row}" for row in range(ROWS)], "text": texts})
        pq.write_table(table, folder / f"{name}.parquet", row_group_size=A_GROUP)
    return folder


def embed(corpus, folder, version=VERSION, **env):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        return embed_corpus(corpus, folder, WordEncoder(), version, batch_size=4)


def hashes(folder):
    return {path.name: sha256_of(path) for path in folder.rglob("*") if path.is_file()}


def test_every_row_has_its_vector(corpus, tmp_path):
    assert embed(corpus, tmp_path / "out") == {"parts": PARTS, "embedded": PARTS, "done_before": 0}
    rows = pq.read_table(tmp_path / "out")
    source = pq.read_table(corpus)
    assert rows["id"].to_pylist() == source["id"].to_pylist()
    vectors = np.array(rows["vector"].to_pylist(), np.float32)
    assert vectors.shape == (2 * ROWS, DIM)
    assert np.allclose(vectors, WordEncoder().encode_texts(source["text"].to_pylist()), atol=1e-6)


def test_processes_share_the_parts_and_give_the_same_bytes(corpus, tmp_path):
    embed(corpus, tmp_path / "one")
    shares = [embed(corpus, tmp_path / "three", RANK=str(rank), WORLD_SIZE="3") for rank in (2, 0, 1)]
    assert [share["embedded"] for share in shares] == [4, 5, 5]
    assert hashes(tmp_path / "three") == hashes(tmp_path / "one")


@pytest.mark.parametrize("damage", ["note", "part", "part gone", "half a note"])
def test_what_is_done_is_verified_and_only_the_rest_is_embedded(corpus, tmp_path, caplog, damage):
    out = tmp_path / "out"
    embed(corpus, out)
    whole = hashes(out)
    path, note = out / "part-000003.parquet", out / "_done" / "part-000003.json"
    if damage == "note":
        note.unlink()
    elif damage == "half a note":
        note.write_text('{"rows"')
    elif damage == "part":
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    else:
        path.unlink()
    assert embed(corpus, out) == {"parts": PARTS, "embedded": 1, "done_before": PARTS - 1}
    assert hashes(out) == whole
    assert ("part-000003" in caplog.text) == (damage != "note")


def test_another_model_or_changed_rows_are_embedded_anew(corpus, tmp_path):
    embed(corpus, tmp_path / "out")
    assert embed(corpus, tmp_path / "out", version="000000000002")["embedded"] == PARTS
    table = pq.read_table(corpus / "b.parquet")
    pq.write_table(table.set_column(1, "text", pa.array(["fox"] * ROWS)), corpus / "b.parquet", row_group_size=A_GROUP)
    assert embed(corpus, tmp_path / "out", version="000000000002")["embedded"] == PARTS / 2


def test_a_folder_with_the_parts_of_a_larger_corpus_is_refused(corpus, tmp_path):
    embed(corpus, tmp_path / "out")
    (corpus / "b.parquet").unlink()
    with pytest.raises(UnimrError, match=r"holds part-000007\.parquet, but the corpus has 7 parts"):
        embed(corpus, tmp_path / "out")


def test_pictures_are_embedded_as_texts_are(tmp_path):
    images = [picture(number, "google") for number in range(5)]
    pq.write_table(pa.table({"id": list("abcde"), "image": images}), tmp_path / "c.parquet")
    assert embed(tmp_path / "c.parquet", tmp_path / "out")["embedded"] == 1
    vectors = np.array(pq.read_table(tmp_path / "out")["vector"].to_pylist(), np.float32)
    assert np.allclose(vectors, WordEncoder().encode_images(images), atol=1e-6)


@pytest.mark.parametrize(("columns", "what"), [({"id": ["a"]}, "it needs `id`"), ({"text": ["a"]}, "it needs `id`")])
def test_a_corpus_without_the_columns_is_refused(tmp_path, columns, what):
    pq.write_table(pa.table(columns), tmp_path / "c.parquet")
    with pytest.raises(UnimrError, match=what):
        embed(tmp_path / "c.parquet", tmp_path / "out")
    with pytest.raises(UnimrError, match=r"There is no Parquet file in .*nowhere"):
        embed(tmp_path / "nowhere", tmp_path / "out")


SLOW = """
import sys, time
from pathlib import Path
from tests.index.small_index import VERSION, WordEncoder
from unimr.index.embed_corpus import embed_corpus
class Slow(WordEncoder):
    def encode_texts(self, texts):
        time.sleep(0.05)
        return super().encode_texts(texts)
embed_corpus(Path(sys.argv[1]), Path(sys.argv[2]), Slow(), VERSION, 4)
"""


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(corpus, tmp_path):
    embed(corpus, tmp_path / "whole")
    out = tmp_path / "out"
    command = [sys.executable, "-c", SLOW, str(corpus), str(out)]
    process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": str(PROJECT)})
    end = time.monotonic() + 120
    while len(list(out.glob("_done/*.json"))) < 3:
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    done = {path: path.stat().st_mtime_ns for path in out.glob("_done/*.json")}
    again = embed(corpus, out)
    assert again["done_before"] >= 3 and again["embedded"] + again["done_before"] == PARTS
    assert all(path.stat().st_mtime_ns == when for path, when in done.items())
    assert hashes(out) == hashes(tmp_path / "whole")
    assert json.loads((out / "_done" / "part-000000.json").read_text())["rows"] == A_GROUP
