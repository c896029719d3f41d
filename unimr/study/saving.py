"""What one model saves against the separate ones it replaces: parameters, bytes on disk, milliseconds a query."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from unimr.model.nlu import Labels
from unimr.model.retriever import UnifiedRetriever
from unimr.model_params import ModelParams
from unimr.study.variants import SEPARATE
from unimr.training.device import threads

ROUNDS, WARM_UP = 60, 5
PARTS = {
    "unified": ("text_encoder", "text_projection", "nlu", "fusion", "image_encoder", "composition"),
    "image_only": ("text_encoder", "text_projection", "image_encoder", "composition"),
    "text_only": ("text_encoder", "text_projection"),
    "nlu_only": ("text_encoder", "nlu"),
}
"""Which modules each model has to keep."""


def saving(model: ModelParams, labels: Labels, queries: Sequence[str]) -> dict[str, dict[str, float]]:
    """Size and time of each model, of the separate ones together, and the ratio of `unified` to them.

    A query that is to find pictures and texts and to be understood goes once through the unified model and once
    through each of the separate ones. They are timed in turn, in one process and one thread, so that the ratio holds
    whatever the machine. Trained weights take as long as random ones.

    Args:
        model: sizes.
        labels: intents and slots.
        queries: texts that are encoded one at a time.
    """
    found = {name: _size(model, labels, parts) for name, parts in PARTS.items()}
    times = _times(model, labels, queries)
    for name in PARTS:
        found[name]["ms_per_query"] = times[name]
    keys = list(found["unified"])
    together = {key: sum(found[name][key] for name in SEPARATE) for key in keys}
    ratio = {key: found["unified"][key] / together[key] for key in keys}
    return {**found, "separate": together, "ratio": ratio}


def _size(params: ModelParams, labels: Labels, parts: Sequence[str]) -> dict[str, float]:
    model = UnifiedRetriever(params, labels)
    kept = nn.ModuleDict({name: getattr(model, name) for name in parts})
    weights = {name: value.detach().contiguous() for name, value in kept.state_dict().items()}
    return {"parameters": sum(value.numel() for value in kept.parameters()), "bytes": len(save(weights))}


@torch.inference_mode()
def _times(params: ModelParams, labels: Labels, queries: Sequence[str]) -> dict[str, float]:
    """Median milliseconds of a query in each model: encoding, and understanding where the model has an NLU module."""
    model = UnifiedRetriever(params, labels).eval()

    def _batch(text: str) -> Any:
        return model.tokenizer.batch([model.tokenizer.words(text)])

    ways: dict[str, Callable[[str], Any]] = {
        "unified": lambda text: model.understandings([text], model.embed_words(_batch(text))[1]),
        "image_only": lambda text: model.embed_words_alone(_batch(text)),
        "text_only": lambda text: model.embed_words_alone(_batch(text)),
        "nlu_only": lambda text: model.understandings([text], model.nlu(model.text_encoder(_batch(text)))),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    with threads(1):  # as the service does: a single query is too small to be shared between threads
        for number in range(WARM_UP + ROUNDS):
            for name, encode in ways.items():
                begun = time.perf_counter()
                encode(queries[number % len(queries)])
                taken[name].append((time.perf_counter() - begun) * 1000)
    return {name: statistics.median(values[WARM_UP:]) for name, values in taken.items()}
