"""`make bench-service`: what `unimr serve` bears, with the trained model of this project.

    python -m tests.bench.service [--only load|swaps] [--root DIR]     measures, writes metrics/service.json
    python -m tests.bench.service --table                              prints the table of docs/service.md

The load comes from this process, which shares the machine's cores with the service: both are in the figures.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from unimr.config import load_params
from unimr.errors import UnimrError
from unimr.files import read_json, write_json
from unimr.index.publish import current_version, promote, versions_folder
from unimr.search.engine import SearchEngine, load_retriever
from unimr.search.query import Query
from unimr.service.schemas import USUAL_RESULTS, SearchRequest

from .load import Load, closed_load, hits_of, open_load
from .report import P99_MS, table
from .site import SHARES, Served, bodies, publish_fewer, queries, scratch, served

PARTS = ["load", "swaps"]
METRICS = Path("metrics/service.json")
PROJECT = Path(__file__).parents[2]
CLIENTS, QUERIES = 16, 2_000
OK, TOO_MANY = 200, 429
WARM_UP_SECONDS, SUSTAINED_SECONDS, OVERLOAD_SECONDS, RECOVERY_SECONDS = 5.0, 30.0, 20.0, 10.0
TIMES_OVER = 10
SWAPS, SWAP_CLIENTS, SWAP_QUERIES, DISTINCT = 30, 8, 10_000, 400
SWAP_TIMEOUT_SECONDS = 60.0


def for_seconds(seconds: float):
    return lambda so_far: so_far >= seconds


async def load_figures(site: Served, asked: list[bytes]) -> dict[str, Any]:
    """Sustained rate, ten times that rate, and the time until all is as before."""
    await closed_load(site.port, asked, CLIENTS, for_seconds(WARM_UP_SECONDS))
    steady = await closed_load(site.port, asked, CLIENTS, for_seconds(SUSTAINED_SECONDS))
    memory, rate = site.megabytes(), steady.rate(OK)
    over = await open_load(site.port, asked, TIMES_OVER * rate, OVERLOAD_SECONDS)
    after = await closed_load(site.port, asked, CLIENTS, for_seconds(RECOVERY_SECONDS))
    return {
        "sustained": {"clients": CLIENTS, "seconds": round(steady.seconds, 1), "per_second": round(rate, 1)}
        | shown(steady),
        "overload": {
            "offered_per_second": round(len(over.samples) / over.seconds, 1),
            "seconds": round(over.seconds, 1),
            "goodput": round(over.rate(OK) / rate, 3),
            "refused_p99_ms": over.milliseconds(0.99, TOO_MANY),
            "refused_max_ms": over.milliseconds(1, TOO_MANY),
            "memory_before_mb": round(memory, 1),
            "memory_after_mb": round(site.megabytes(), 1),
            "recovered_after_seconds": recovered_after(after),
        }
        | shown(over),
    }


def shown(load: Load) -> dict[str, Any]:
    return {
        "p50_ms": load.milliseconds(0.5, OK),
        "p99_ms": load.milliseconds(0.99, OK),
        "max_ms": load.milliseconds(1, OK),
        "statuses": {str(status): count for status, count in load.statuses().items()},
    }


def recovered_after(load: Load) -> int | None:
    """The first whole second from which on all is answered and the p99 of every second is within the limit."""
    recovered = None
    for second in range(int(load.seconds)):
        part = Load(1.0, [sample for sample in load.samples if second <= sample.due < second + 1])
        good = set(part.statuses()) == {OK} and part.milliseconds(0.99, OK) <= P99_MS
        recovered = (recovered if recovered is not None else second) if good else None
    return recovered


def expected_answers(root: Path, asked: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """What each version answers to each query, asked alone, by exact search in this process.

    Not by Milvus Lite: among pictures that are drawn alike, whose vectors are equal, it has an order of its own.
    """
    expected = {}
    for folder in sorted(versions_folder(root).iterdir()):
        with SearchEngine(folder, root / "published/open", load_retriever) as engine:
            engine.hold_in_memory()
            found = [engine.search_many([query_of(each)])[0] for each in asked]
            expected[folder.name] = [[(hit.item_id, hit.image_id) for hit in answer.hits] for answer in found]
    return expected


def query_of(asked: dict[str, Any]) -> Query:
    request = SearchRequest.model_validate(asked)
    return Query(request.text, request.picture(), request.image_id, usual_k=USUAL_RESULTS)


async def swap_figures(site: Served, root: Path, asked: list[bytes], expected: dict[str, list[Any]]) -> dict[str, Any]:
    """Versions that take turns under fire: faults, answers that are not those of their version, seconds a swap."""
    seconds: list[float] = []
    over = threading.Event()
    answered: Counter[str] = Counter()
    wrong: list[int] = []

    def see(number: int, status: int, body: bytes) -> None:
        if status == OK:
            index, hits = hits_of(body)
            answered[index] += 1
            if hits != expected[index][number]:
                wrong.append(number)

    def swap() -> None:
        versions = sorted(expected)
        try:
            for _ in range(SWAPS):
                before = current_version(root)
                wanted = versions[(versions.index(before) + 1) % len(versions)]
                promote(root, wanted)
                begun = time.monotonic()
                while site.index() != wanted and time.monotonic() - begun < SWAP_TIMEOUT_SECONDS:
                    time.sleep(0.05)
                seconds.append(time.monotonic() - begun)
        finally:
            over.set()

    swapping = threading.Thread(target=swap)
    swapping.start()
    load = await closed_load(
        site.port, asked, SWAP_CLIENTS, lambda _: over.is_set() and sum(answered.values()) >= SWAP_QUERIES, see
    )
    swapping.join()
    return {
        "swaps": int(site.metric("unimr_index_swaps_total")),
        "seconds_a_swap_max": round(max(seconds), 2),
        "answers": dict(answered),
        "other_than_exact": len(wrong),
        "clients": SWAP_CLIENTS,
    } | shown(load)


def measure(root: Path, what: list[str]) -> dict[str, Any]:
    """Run the parts that are asked for over a copy of the project."""
    found: dict[str, Any] = {"machine": machine(), "queries": SHARES}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        copy = scratch(root, Path(folder))
        params = load_params(copy).serve
        found["settings"] = {name: getattr(params, name) for name in ("max_batch", "max_wait_ms", "max_delay_ms")}
        if "load" in what:
            asked = bodies(queries(copy, QUERIES))
            with served(copy) as site:
                found |= asyncio.run(load_figures(site, asked))
                found["ending"] = ending(site)
        if "swaps" in what:
            asked_of_both = queries(copy, DISTINCT)
            publish_fewer(copy)
            expected = expected_answers(copy, asked_of_both)
            with served(copy) as site:
                found["swaps"] = asyncio.run(swap_figures(site, copy, bodies(asked_of_both), expected))
    return found


def ending(site: Served) -> dict[str, Any]:
    """The query log's counts, and how the service ends."""
    deadline = time.monotonic() + 5
    answered = site.metric("unimr_log_written_total")
    while time.monotonic() < deadline:
        time.sleep(0.5)
        before, answered = answered, site.metric("unimr_log_written_total")
        if before == answered:
            break
    dropped = site.metric("unimr_log_dropped_total")
    code = site.end()
    return {"log_written": int(answered), "log_dropped": int(dropped), "exit_status": code,
            "seconds_to_end": round(site.seconds_to_end, 2)}  # fmt: skip


def machine() -> dict[str, Any]:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if sys.platform == "linux" else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load_from": "another process on the same cores",
        "day": time.strftime("%Y-%m-%d"),
    }


def main() -> int:
    """Measure, or print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.service", description=__doc__)
    parser.add_argument("--only", choices=PARTS, help="measure one part, and keep the figures of the other")
    parser.add_argument("--root", type=Path, default=PROJECT, help="the trained project")
    parser.add_argument("--table", action="store_true", help="print the committed figures")
    given = parser.parse_args()
    try:
        if not given.table:
            known = read_json(PROJECT / METRICS) if (PROJECT / METRICS).exists() else {}
            write_json(PROJECT / METRICS, known | measure(given.root.resolve(), [given.only] if given.only else PARTS))
        found = read_json(PROJECT / METRICS)
        print(table(found) if {"sustained", "swaps"} <= found.keys() else json.dumps(found, indent=2))  # noqa: T201
    except UnimrError as error:
        print(f"Error: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
