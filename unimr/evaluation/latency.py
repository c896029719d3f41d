"""How long one query takes to encode, and how large the model is."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from unimr.evaluation.scoring import Retriever

WARM_UP = 5
TIMED = 60


def encoding_latency(model: Retriever, texts: Sequence[str], pictures: Sequence[bytes]) -> dict[str, float]:
    """Milliseconds to encode one text, one picture and to understand one text: median and 95th percentile.

    Each call takes one input; the inputs are used in turn. The first calls warm up and are not counted.
    """
    timed = {
        "text": _milliseconds(model.encode_texts, texts),
        "picture": _milliseconds(model.encode_images, pictures),
        "understand": _milliseconds(model.understand, texts),
    }
    latency: dict[str, float] = {"calls": TIMED}
    for name, values in timed.items():
        latency[f"{name}_ms_median"] = round(statistics.median(values), 3)
        latency[f"{name}_ms_p95"] = round(statistics.quantiles(values, n=20)[-1], 3)
    return latency


def _milliseconds(encode: Callable[[list[Any]], object], inputs: Sequence[Any]) -> list[float]:
    times = []
    for number in range(WARM_UP + TIMED):
        one = [inputs[number % len(inputs)]]
        begun = time.perf_counter()
        encode(one)
        times.append((time.perf_counter() - begun) * 1000)
    return times[WARM_UP:]


def model_size(model: Retriever, folder: Path) -> dict[str, float]:
    """Number of learned parameters, and megabytes (10^6) of its saved weights."""
    weights = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return {"parameters": parameters, "megabytes": round(weights / 1e6, 2)}
