"""`python -m tests.bench.scale`: what embedding and an index cost a row here, and from that what 100 million rows cost.

python -m tests.bench.scale [--root DIR]      measures with the trained model of a project, writes metrics/scaling.json
python -m tests.bench.scale --table           prints the arithmetic of docs/scaling.md from that file
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from unimr.data.tables import read_table
from unimr.files import read_json, write_json
from unimr.index.schema import NUMBER_FIELDS, TEXTS
from unimr.index.store import Rows, Store, store_path
from unimr.model.retriever import UnifiedRetriever

METRICS = Path("metrics/scaling.json")
TEXTS_MEASURED, PICTURES_MEASURED, ROWS_MEASURED, A_GROUP = 20_000, 3_000, 20_000, 1_000
ITEMS = 100_000_000
PRICE = 0.05
"""Dollars a core and hour, as an example: put your own in its place."""


def embedding_figures(root: Path, folder: Path, model: Path) -> dict[str, float]:
    """Rows that `unimr embed` embeds in a second of one core, and bytes of a part a row."""
    texts = read_table(root / "data/validated", "texts")["text"].tolist()[:TEXTS_MEASURED]
    images = read_table(root / "data/validated", "images", ["image"])["image"].tolist()[:PICTURES_MEASURED]
    found: dict[str, float] = {}
    for name, column, contents in (("texts", "text", texts), ("pictures", "image", images)):
        # Less the start of Python and of the model, which a small corpus shows.
        few, all_rows = (
            _core_seconds(root, folder / f"{name}-{count}", model, column, contents[:count])
            for count in (A_GROUP, len(contents))
        )
        found[f"{name}_per_core_second"] = (len(contents) - A_GROUP) / (all_rows - few)
        parts = (folder / f"{name}-{len(contents)}" / "out").glob("*.parquet")
        found[f"{name}_bytes_a_row"] = sum(path.stat().st_size for path in parts) / len(contents)
    return found


def _core_seconds(root: Path, folder: Path, model: Path, column: str, contents: list[Any]) -> float:
    """Processor time of embedding a corpus; it hardly depends on what else the machine does, as wall time would."""
    folder.mkdir()
    table = pa.table({"id": [str(row) for row in range(len(contents))], column: contents})
    pq.write_table(table, folder / "corpus.parquet", row_group_size=A_GROUP)
    command = [sys.executable, "-m", "unimr.cli", "embed", str(folder / "corpus.parquet"), str(folder / "out")]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*command, "--model", str(model)], check=True, capture_output=True, cwd=root)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def index_figures(dim: int, folder: Path) -> dict[str, Any]:
    """Bytes of the index file a row, and rows a core inserts and indexes in a second, of each type in Milvus Lite."""
    vectors = np.random.default_rng(0).standard_normal((ROWS_MEASURED, dim), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    keys = [str(row) for row in range(ROWS_MEASURED)]
    fields: dict[str, list[Any]] = dict.fromkeys(TEXTS.fields, keys)
    rows = Rows(fields | {name: [0] * ROWS_MEASURED for name in NUMBER_FIELDS}, vectors)
    found = {}
    for kind in ("HNSW", "IVF_SQ8"):
        place = folder / kind
        place.mkdir()
        with Store(store_path(place)) as store:
            started = time.process_time()
            store.create("measured", TEXTS, dim, kind, ROWS_MEASURED)
            store.insert("measured", TEXTS, rows)
            seconds = time.process_time() - started
        size = sum(path.stat().st_size for path in place.rglob("*.idx"))
        found[kind] = {"index_bytes_a_row": size / ROWS_MEASURED, "rows_per_core_second": ROWS_MEASURED / seconds}
    return found


def measure(root: Path, model: Path) -> dict[str, Any]:
    """All figures."""
    dim = UnifiedRetriever.load(model).dim
    with tempfile.TemporaryDirectory() as folder:
        figures = embedding_figures(root, Path(folder), model)
        return {"dim": dim} | figures | {"index": index_figures(dim, Path(folder))}


def table(found: dict[str, Any]) -> str:
    """What 100 million rows cost, as a Markdown table; every line says from what it is worked out."""
    rows = []
    for name in ("pictures", "texts"):
        rate, size = found[f"{name}_per_core_second"], found[f"{name}_bytes_a_row"]
        hours = ITEMS / rate / 3600
        price = f"{rate:,.0f} a second of a core, ${PRICE} an hour of one"
        rows += [
            (f"embed {name}", f"{hours:,.0f} core-hours, ${hours * PRICE:,.0f}", price),
            ("… on 64 cores", f"{hours / 64:,.1f} h", "parts are independent"),
            ("… on disk", _gib(ITEMS * size), f"{size:,.0f} bytes a row"),
        ]
    for kind, figures in found["index"].items():
        size, rate = figures["index_bytes_a_row"], figures["rows_per_core_second"]
        rows += [
            (f"index {kind} in memory", _gib(ITEMS * size), f"{size:,.0f} bytes a row"),
            ("… to build", f"{ITEMS / rate / 3600:,.0f} core-hours", f"{rate:,.0f} rows a second of a core"),
        ]
    rows.append(("index FLAT in memory", _gib(ITEMS * 4 * found["dim"]), f"4 x {found['dim']} bytes a row"))
    lines = ["| what | 100 M rows | from |", "|---|---:|---|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _gib(size: float) -> str:
    return f"{size / 2**30:,.0f} GiB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path(), help="project with validated tables")
    parser.add_argument("--model", type=Path, help="trained model; else models/train_joint of the project")
    parser.add_argument("--table", action="store_true", help="print the arithmetic from the committed figures")
    given = parser.parse_args()
    if not given.table:
        model = (given.model or given.root / "models/train_joint").absolute()
        write_json(METRICS, measure(given.root.absolute(), model))
        print(json.dumps(read_json(METRICS)))  # noqa: T201
    print(table(read_json(METRICS)))  # noqa: T201


if __name__ == "__main__":
    main()
