"""Traffic without a model: sessions with a language and topics, embeddings around the topics' centres."""

from __future__ import annotations

import numpy as np
import pandas as pd

from unimr.config import load_params
from unimr.monitoring.traffic import COLUMNS, Traffic
from unimr.params import DriftParams

from ..index.small_index import PROJECT

DIM, TOPICS = 16, 12
LANGUAGES = ("de", "en", "ja", "pt")
CENTRES = np.random.default_rng(0).normal(size=(TOPICS + 1, DIM))
"""The last topic is one that nobody asks for, unless told so."""


def drift_params(**changes: object) -> DriftParams:
    return load_params(PROJECT).monitor.drift.model_copy(update=changes)


def traffic(seed: int, queries: int, *, new_topic: float = 0.0, new_language: float = 0.0) -> Traffic:
    """Sessions of about two queries; shares of the sessions are of a topic or a language that others never have."""
    rng = np.random.default_rng(seed)
    rows, vectors, session = [], [], 0
    while len(rows) < queries:
        is_topic, is_language = rng.random(2) < (new_topic, new_language)
        lang = "xx" if is_language else LANGUAGES[rng.integers(len(LANGUAGES))]
        favourite = TOPICS if is_topic else int(rng.integers(TOPICS))
        session += 1
        for _ in range(min(int(rng.geometric(0.5)), queries - len(rows))):
            topic = favourite if is_topic or rng.random() < 0.7 else int(rng.integers(TOPICS))
            vector = CENTRES[topic] + 0.7 * rng.normal(size=DIM)
            vectors.append(vector / np.linalg.norm(vector))
            unknown = float(rng.random() < (0.7 if topic == TOPICS else 0.02))
            intent = ("find_image", "find_text", "filter_set")[int(rng.integers(3))]
            similarity = rng.normal(0.65, 0.1) - 0.2 * (topic == TOPICS)
            about = (f"{seed}-{session}", f"query {len(rows)}", lang, intent)
            scores = (rng.random(), similarity, rng.random() / 10, False, unknown / 2, unknown)
            rows.append((*about, *scores, f"topic {topic}", ["cat"]))
    return Traffic(pd.DataFrame(rows, columns=list(COLUMNS)), np.array(vectors, np.float32))
