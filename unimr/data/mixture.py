"""What training is told of published data sets besides the tables: their labels, and how often each is drawn.

`labels.json` has the intents and slot labels of the train utterances; `mixture.json` the weight of each origin and the
temperature that balances languages. The default catalogue has neither: its labels are known, and its texts are
drawn by their roles.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unimr.files import read_json, write_json

LABELS, MIXTURE = "labels.json", "mixture.json"


def write_labels(folder: Path, utterances: pd.DataFrame) -> None:
    """Write the intents and slot labels that occur in train."""
    train = utterances[utterances["split"] == "train"]
    slots = {slot["label"] for slots in train["slots"] for slot in slots}
    write_json(folder / LABELS, {"intents": sorted(set(train["intent"])), "slots": sorted(slots)})


def write_mixture(folder: Path, weights: Mapping[str, float], language_temperature: float) -> None:
    """Write how often the records of each origin are drawn."""
    write_json(folder / MIXTURE, {"weights": dict(weights), "language_temperature": language_temperature})


def origin(record_id: str) -> str:
    """Where an item or an utterance is from: what stands before the colon of its id (`flickr:17`, `…/massive:en.3`)."""
    return record_id.partition(":")[0].rpartition("/")[2]


def draw_shares(folder: Path, record_ids: Sequence[str], languages: Sequence[str]) -> NDArray[np.float64] | None:
    """How often each record is drawn `[records]`, summing to 1; None where the tables state no mixture.

    An origin is drawn in proportion to its weight, and within it a language with n records to n^temperature (Conneau
    et al. 2020, "Unsupervised Cross-lingual Representation Learning at Scale", section 3.1).
    """
    if not (folder / MIXTURE).exists():
        return None
    mixture = read_json(folder / MIXTURE)
    groups = list(zip(map(origin, record_ids), languages, strict=True))
    sizes = Counter(groups)
    balanced = {group: size ** mixture["language_temperature"] for group, size in sizes.items()}
    whole: dict[str, float] = defaultdict(float)
    for (of_group, _), share in balanced.items():
        whole[of_group] += share
    weights = mixture["weights"]
    shares = np.array([weights[group[0]] * balanced[group] / whole[group[0]] / sizes[group] for group in groups])
    return np.asarray(shares / shares.sum())
