"""The retrieval tasks: which queries are asked of which gallery, and what answers them.

Galleries are built from the tables: English names of base items, names of base items in the query's own language,
pictures of base items in one style, and pictures of all items in one style (composed queries ask for variants).
"""

from __future__ import annotations

import logging
import zlib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from unimr.data.tables import read_table
from unimr.evaluation.retrieval import BoolArray, IntArray

logger = logging.getLogger(__name__)

GALLERY_LANGUAGE = "en"

TEXT_TASKS = (
    "name_to_name",
    "item_to_name",
    "keyword_to_item",
    "intent_to_item",
    "intent_distractor_to_item",
    "untrained_name_to_name",
)
"""Tasks (`queries.task`) that search the English names of base items."""

PICTURE_TASKS = ("name_to_image", "unseen_item_to_image")
"""Tasks that search the pictures of base items, trained and unseen styles apart."""

TASK_NAMES = (
    *TEXT_TASKS,
    "keyword_to_item_same_language",
    *(f"{task}_{styles}" for task in PICTURE_TASKS for styles in ("trained", "unseen_style")),
    "composed_to_image",
)
"""Every task as it is named in metrics and reports."""


@dataclass(frozen=True)
class Tables:
    """The tables that evaluation reads (see `unimr/data/tables.py`)."""

    images: pd.DataFrame
    texts: pd.DataFrame
    queries: pd.DataFrame
    qrels: pd.DataFrame
    utterances: pd.DataFrame

    @classmethod
    def load(cls, folder: Path) -> Tables:
        """Read them from a data folder.

        Raises:
            UnimrError: a table is missing or unreadable.
        """
        images = read_table(folder, "images", ["image_id", "item_id", "style", "image", "attributes", "split"])
        return cls(images, *(read_table(folder, name) for name in ("texts", "queries", "qrels", "utterances")))

    @cached_property
    def variants(self) -> set[str]:
        """Items that are a variant (of skin tone) of another, their base item."""
        pairs = zip(self.images["item_id"], self.images["attributes"], strict=True)
        return {item for item, attributes in pairs if attributes.get("base", item) != item}

    @cached_property
    def relevant(self) -> dict[str, list[str]]:
        """query_id → the items that answer it."""
        found = self.qrels[self.qrels["relevance"] > 0]
        answers: dict[str, list[str]] = defaultdict(list)
        for query_id, item_id in zip(found["query_id"], found["item_id"], strict=True):
            answers[query_id].append(item_id)
        return answers

    def styles(self, unseen: bool) -> list[str]:
        """Picture styles that training saw, or those that it never saw (split `test_style`)."""
        held_out = set(self.images.loc[self.images["split"] == "test_style", "style"])
        return sorted(held_out if unseen else set(self.images["style"]) - held_out)


@dataclass(frozen=True)
class Gallery:
    """What is searched: `keys` are texts, or image_ids when `pictures` is true; `item_ids` says whose they are."""

    item_ids: tuple[str, ...]
    keys: tuple[str, ...]
    pictures: bool

    @cached_property
    def columns(self) -> dict[str, list[int]]:
        """item_id → its places in the gallery."""
        places: dict[str, list[int]] = defaultdict(list)
        for place, item_id in enumerate(self.item_ids):
            places[item_id].append(place)
        return places


@dataclass(frozen=True)
class Part:
    """A gallery and the queries asked of it, as row numbers of the task's queries `[rows]`."""

    gallery: Gallery
    rows: IntArray


@dataclass(frozen=True)
class RetrievalTask:
    """Queries (columns query_id, lang, text, image_id) and where they are asked.

    A query that is asked of several galleries (one a style) counts with its mean over them. `left_out` counts the
    queries of the table that nothing in a gallery answers: they are not scored, and are reported.
    """

    name: str
    measure: str
    queries: pd.DataFrame
    relevant: tuple[list[str], ...]
    parts: tuple[Part, ...]
    left_out: int

    @cached_property
    def languages(self) -> list[str]:
        """Language of each query."""
        return list(self.queries["lang"])

    @property
    def composed(self) -> bool:
        """Whether a query is a picture with words."""
        return bool(self.queries["image_id"].notna().all())

    def relevance(self, gallery: Gallery, rows: IntArray) -> BoolArray:
        """`[rows, gallery]`, true where an entry belongs to an item that answers the query."""
        relevance = np.zeros((len(rows), len(gallery.item_ids)), dtype=bool)
        for line, row in enumerate(rows):
            for item_id in self.relevant[row]:
                relevance[line, gallery.columns.get(item_id, [])] = True
        return relevance


def build_tasks(tables: Tables, limit_per_language: int = 0, only: Iterable[str] = ()) -> list[RetrievalTask]:
    """The tasks that have queries in the tables; one without is left out and named in the log.

    Args:
        tables: the tables of one data folder.
        limit_per_language: keep this many queries a language and task, chosen by a hash of their id; 0 keeps all.
        only: names out of `TASK_NAMES`; empty means all of them.
    """
    tasks = []
    for name in [name for name in TASK_NAMES if not only or name in set(only)]:
        task = _build(tables, name, limit_per_language)
        if task is None:
            logger.warning("%s: left out, since the tables hold no queries for it or nothing to search", name)
        else:
            tasks.append(task)
    return tasks


def sample_by_language(frame: pd.DataFrame, key: str, limit: int) -> pd.DataFrame:
    """At most `limit` rows a language, those whose `key` hashes lowest; 0 keeps all."""
    if limit == 0:
        return frame
    order = frame[key].map(lambda value: zlib.crc32(value.encode())).sort_values(kind="stable").index
    return frame.loc[frame.loc[order].groupby("lang").head(limit).index.sort_values()]


def _build(tables: Tables, name: str, limit: int) -> RetrievalTask | None:
    source = name.removesuffix("_same_language").removesuffix("_trained").removesuffix("_unseen_style")
    asked = tables.queries[tables.queries["task"] == source].reset_index(drop=True)
    answers = [tables.relevant.get(query_id, []) for query_id in asked["query_id"]]
    galleries = _galleries(tables, name, source, sorted(set(asked["lang"])))
    asks = np.zeros((len(asked), len(galleries)), dtype=bool)
    for column, (lang, gallery) in enumerate(galleries):
        answered = np.array([any(item in gallery.columns for item in items) for items in answers], dtype=bool)
        asks[:, column] = answered & ((asked["lang"] == lang).to_numpy() | (lang == ""))
    kept = asks.any(axis=1)
    if len(asked) and not kept.all():
        logger.warning("%s: %d queries left out, nothing in the gallery answers them", name, (~kept).sum())
    queries = sample_by_language(asked[kept], "query_id", limit)
    if queries.empty:
        return None
    places = queries.index.to_numpy()
    parts = [Part(gallery, np.flatnonzero(asks[places, column])) for column, (_, gallery) in enumerate(galleries)]
    return RetrievalTask(
        name=name,
        measure="recall_at_10" if source in (*PICTURE_TASKS, "composed_to_image") else "mrr",
        queries=queries.reset_index(drop=True),
        relevant=tuple(answers[place] for place in places),
        parts=tuple(part for part in parts if len(part.rows)),
        left_out=int((~kept).sum()),
    )


def _galleries(tables: Tables, name: str, source: str, languages: list[str]) -> list[tuple[str, Gallery]]:
    """Galleries, each with the language of the queries that are asked of it; "" stands for every language."""
    if name.endswith("_same_language"):
        return [(lang, _names(tables, lang)) for lang in languages]
    if source in TEXT_TASKS:
        return [("", _names(tables, GALLERY_LANGUAGE))]
    styles = tables.styles(unseen=name.endswith("_unseen_style"))
    return [("", _pictures(tables, style, with_variants=source == "composed_to_image")) for style in styles]


def _names(tables: Tables, lang: str) -> Gallery:
    texts = tables.texts
    chosen = texts[(texts["lang"] == lang) & (texts["role"] == "name") & ~texts["item_id"].isin(tables.variants)]
    return Gallery(tuple(chosen["item_id"]), tuple(chosen["text"]), pictures=False)


def _pictures(tables: Tables, style: str, with_variants: bool) -> Gallery:
    images = tables.images[tables.images["style"] == style]
    chosen = images if with_variants else images[~images["item_id"].isin(tables.variants)]
    return Gallery(tuple(chosen["item_id"]), tuple(chosen["image_id"]), pictures=True)
