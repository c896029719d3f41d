"""`python -m tests.bench.gpu`: a training step of two transformer towers, its speed and its memory, on this device.

    python -m tests.bench.gpu [--size base] [--out metrics/gpu.json]       every case in a process of its own
    python -m tests.bench.gpu --size small --out metrics/gradient_cache.json --cases 32:0 128:0 128:32   batch:chunk

`ours` is the project's loop, contrast and gradient cache; `plain` a step in the way of open_clip's loop. Chunk 0 is the
whole batch at once. On a CPU the memory is that of the process: peak resident, less what it held before the first step.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from tests.bench.towers import SIZES, PairTask, flops_of_a_pair, plain_loss
from unimr.files import read_json, write_json
from unimr.params import TrainParams
from unimr.training import loop
from unimr.training.device import mixed_precision

CASES = ["1024:0", "1024:256", "8192:256"]
WARM_UP = 3
PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L4": 121e12, "4090": 165e12}
"""Dense bf16 a second, by the makers' data sheets."""


def measure(kind: str, size: str, batch_size: int, chunk_size: int, steps: int) -> dict[str, Any]:
    """One case in this process; `error` in place of figures where the memory does not suffice."""
    task = PairTask(SIZES[size], batch_size, chunk_size)
    before, times, waits = _memory(), [], []
    case = {"kind": kind, "size": size, "batch": batch_size, "chunk": chunk_size}
    try:
        (_ours if kind == "ours" else _plain)(task, WARM_UP + steps, times, waits)
    except torch.OutOfMemoryError:
        return case | {"error": "out of memory"}
    seconds = (times[-1] - times[WARM_UP]) / steps
    rate, peak = batch_size / seconds, _peak_flops()
    return case | {
        "step_seconds": seconds,
        "samples_per_second": rate,
        "mfu": None if peak is None else rate * flops_of_a_pair(SIZES[size]) / peak,
        "data_share": sum(waits[WARM_UP:]) / (times[-1] - times[WARM_UP]),
        "peak_memory_mb": (_memory(peak=True) - (0 if torch.cuda.is_available() else before)) / 2**20,
    }


def _ours(task: PairTask, steps: int, times: list[float], waits: list[float]) -> None:
    """The steps of `unimr.training.loop`, without its checkpoints."""

    class Watched(loop.Progress):
        def update(self, step: int, report: dict[str, float], samples: int, waited: float, rate: float) -> None:
            times.append(time.perf_counter())
            waits.append(waited)

    loop.Progress, loop.save_checkpoint = Watched, lambda *_: None  # type: ignore[misc, assignment]
    times.append(time.perf_counter())
    with tempfile.TemporaryDirectory() as folder:
        loop.train(task, _params(task, steps), Path(folder) / "work", loop.Rates(1e-4, 0.0))


def _params(task: PairTask, steps: int) -> TrainParams:
    return TrainParams(
        seed=0, steps=steps, batch_size=task.batch_size, chunk_size=task.chunk_size, learning_rate=1e-4,
        weight_decay=0.02, warmup_steps=1, checkpoint_every=steps,
    )  # fmt: skip


def _plain(task: PairTask, steps: int, times: list[float], waits: list[float]) -> None:
    """Forward, backward and an optimiser step; batches come as in `_ours`."""
    torch.set_num_threads(loop.THREADS)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    task.module.to(device).train()
    optimizer = torch.optim.AdamW(task.module.parameters(), lr=1e-4, weight_decay=0.02)
    half = mixed_precision() == "bf16"
    times.append(time.perf_counter())
    batches = loop._batches(task, _params(task, steps), 0, ahead=device.type == "cuda")
    for _ in range(steps):
        began = time.perf_counter()
        batch = next(batches)
        waits.append(time.perf_counter() - began)
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            loss = plain_loss(task.module, batch, device)
        loss.backward()
        optimizer.step()
        loss.item()
        times.append(time.perf_counter())


def _memory(peak: bool = False) -> int:
    """Bytes of the device's memory, or of the process on a CPU."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() if peak else torch.cuda.memory_allocated()
    if peak:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _peak_flops() -> float | None:
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    return next((value for part, value in PEAK_FLOPS.items() if part in name), None)


def run(size: str, cases: list[str], steps: int) -> dict[str, Any]:
    """All cases, each in a process of its own, and plain steps of the batches that are not cut."""
    found = []
    for case in cases:
        batch, chunk = map(int, case.split(":"))
        for kind in ("ours", "plain") if chunk == 0 else ("ours",):
            given = json.dumps([kind, size, batch, chunk, steps])
            command = [sys.executable, "-m", "tests.bench.gpu", "--case", given]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
            failed = {"kind": kind, "size": size, "batch": batch, "chunk": chunk, "error": f"exit {done.returncode}"}
            found.append(json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else failed)
            print(json.dumps(found[-1]), flush=True)  # noqa: T201
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"cpu, {loop.THREADS} threads"
    about = {"device": device, "precision": mixed_precision(), "torch": torch.__version__.split("+")[0]}
    return about | {"python": platform.python_version(), "steps": steps, "cases": found}


def table(found: dict[str, Any]) -> str:
    """Peak memory of `ours` as a Markdown table: a row a batch, a column a chunk size."""
    cases = {(case["batch"], case["chunk"]): case for case in found["cases"] if case["kind"] == "ours"}
    batches, chunks = (sorted({key[place] for key in cases}) for place in (0, 1))
    names = ["at once" if chunk == 0 else f"chunks of {chunk}" for chunk in chunks]
    lines = [f"| batch | {' | '.join(names)} |", "|---:|" + "---:|" * len(chunks)]
    for batch in batches:
        of_batch = [cases.get((batch, chunk), {}) for chunk in chunks]
        values = [f"{case['peak_memory_mb']:,.0f} MB" if "peak_memory_mb" in case else "" for case in of_batch]
        lines.append(f"| {batch:,} | {' | '.join(values)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="base")
    parser.add_argument("--cases", nargs="+", default=CASES, help="batch:chunk")
    parser.add_argument("--steps", type=int, default=20, help="measured, after the first few")
    parser.add_argument("--out", type=Path, default=Path("metrics/gpu.json"))
    parser.add_argument("--table", action="store_true", help="print the memory in the file of --out; measure nothing")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.table:
        print(table(read_json(given.out)))  # noqa: T201
        return
    if given.case:
        print(json.dumps(measure(*json.loads(given.case))))  # noqa: T201
        return
    write_json(given.out, run(given.size, given.cases, given.steps))


if __name__ == "__main__":
    main()
