"""Evaluation queries and their relevance judgements, a task each (see `data/README.md`)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from unimr.data.items import Item
from unimr.data.splits import PIVOT, SplitText, hash_share
from unimr.data.text import normalise

COMPOSED_SHARE = 0.25
"""Share of the families with variants whose picture-and-words pairs are for test and never composed in training."""


@dataclass(frozen=True)
class Query:
    """An evaluation query and the items that answer it."""

    task: str
    lang: str
    text: str
    relevant: tuple[str, ...]
    image_id: str | None = None


def make_queries(
    items: Sequence[Item], texts: Sequence[SplitText], images: pd.DataFrame, utterances: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tables `queries` and `qrels` of all tasks."""
    bases = {item.item_id for item in items if item.item_id == item.base_id}
    base_texts = [row for row in texts if row.item_id in bases]
    pictured = set(images["item_id"])
    shown = [row for row in base_texts if row.item_id in pictured]
    queries = [
        *_text_task("name_to_name", base_texts, lambda row: _is_name(row, "test_pair")),
        *_text_task("item_to_name", base_texts, lambda row: _is_foreign_name(row, "test_item")),
        *_text_task("untrained_name_to_name", base_texts, lambda row: _is_foreign_name(row, "untrained")),
        *_text_task("keyword_to_item", base_texts, lambda row: row.split == "test_keyword"),
        *_text_task("name_to_image", shown, lambda row: _is_name(row, "train")),
        *_text_task("unseen_item_to_image", shown, lambda row: _is_name(row, "test_item")),
        *_utterance_tasks(utterances),
        *_composed_task(items, texts, images),
    ]
    return _as_tables(queries)


def _is_name(row: SplitText, split: str) -> bool:
    return row.split == split and row.text.role == "name"


def _is_foreign_name(row: SplitText, split: str) -> bool:
    return _is_name(row, split) and row.text.lang != PIVOT


def _text_task(task: str, texts: Sequence[SplitText], chosen: Callable[[SplitText], bool]) -> Iterator[Query]:
    """A query for every distinct chosen text; relevant is every item that it belongs to."""
    relevant: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for row in texts:
        if chosen(row):
            relevant[row.text.lang, normalise(row.text.text)][row.item_id] = row.text.text
    for (lang, _), found in relevant.items():
        yield Query(task, lang, next(iter(found.values())), tuple(found))


def _utterance_tasks(utterances: pd.DataFrame) -> Iterator[Query]:
    """Intent-rich queries in unseen phrasings; a skin tone is a filter, so those that name one are left out."""
    if utterances.empty:
        return
    for row in utterances[utterances["split"] == "test"].itertuples():
        if isinstance(row.item_id, str) and not any(slot["label"] == "skin_tone" for slot in row.slots):
            task = "intent_distractor_to_item" if "/distractor/" in row.utterance_id else "intent_to_item"
            yield Query(task, row.lang, row.text, (row.item_id,))


def is_composed_for_test(base_id: str) -> bool:
    """Whether the pairs of this family are composed in test only."""
    return hash_share("composed", base_id) < COMPOSED_SHARE


def _composed_task(items: Sequence[Item], texts: Sequence[SplitText], images: pd.DataFrame) -> Iterator[Query]:
    """A base picture and a localized skin tone or gender → the variant; one language for each, in turn."""
    trained = images[images["split"] == "train"].groupby("item_id")["image_id"].first()
    pairs = list(variant_pairs(items, texts))
    for number, (base_id, variant_id, words) in enumerate(pairs):
        if is_composed_for_test(base_id) and base_id in trained and variant_id in trained:
            langs = sorted(words)
            lang = langs[number % len(langs)]
            yield Query("composed_to_image", lang, words[lang], (variant_id,), trained[base_id])


def variant_pairs(items: Sequence[Item], texts: Sequence[SplitText]) -> Iterable[tuple[str, str, dict[str, str]]]:
    """Base item, variant, and the words that tell them apart in each language (trained texts only).

    A skin tone's words are what CLDR writes after the colon of the variant's name; a gender's the names of 👩 and 👨.
    """
    names: dict[str, dict[str, str]] = defaultdict(dict)
    for row in texts:
        if row.text.role == "name" and row.split == "train":
            names[row.item_id][row.text.lang] = row.text.text
    known = {item.item_id for item in items}
    for item in items:
        if item.item_id != item.base_id:
            words = {lang: name.rpartition(": ")[2] for lang, name in names[item.item_id].items() if ": " in name}
            if words:
                yield item.base_id, item.item_id, words
        for sign, person in (("2640", "1f469"), ("2642", "1f468")):
            neutral = item.item_id.removesuffix(f"-200d-{sign}-fe0f")
            if item.item_id == item.base_id and neutral != item.item_id and neutral in known and names[person]:
                yield neutral, item.item_id, names[person]


def _as_tables(queries: Iterable[Query]) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows, qrels = [], []
    numbers: dict[tuple[str, str], int] = defaultdict(int)
    for query in queries:
        query_id = f"{query.task}/{query.lang}/{numbers[query.task, query.lang]}"
        numbers[query.task, query.lang] += 1
        rows.append([query_id, query.task, query.lang, query.text, query.image_id, "test"])
        qrels += [[query_id, item_id, 1] for item_id in query.relevant]
    return (
        pd.DataFrame(rows, columns=["query_id", "task", "lang", "text", "image_id", "split"]),
        pd.DataFrame(qrels, columns=["query_id", "item_id", "relevance"]),
    )
