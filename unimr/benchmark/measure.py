"""Measuring a model on the tasks of published data sets, and on their annotated utterances.

Retrieval: the rank of the best-ranked entry that answers the query; ties are lost. `recall_at_k` is the share of
queries whose rank is at most k, and `mrr` the mean of 1 / rank. Query understanding: see `unimr.evaluation.nlu`.

Intervals are 95 % percentile bootstraps (Efron, 1979). The five captions of a photograph are no five independent
queries, so items are drawn again, each with all of its queries.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from unimr.benchmark.tasks import Task, build_tasks, photographed
from unimr.data.published.pictures import read_pictures
from unimr.data.published.records import Dataset, Utterance
from unimr.evaluation import nlu
from unimr.evaluation.intervals import Score, Statistic, Summary, summarise
from unimr.evaluation.retrieval import FloatArray, IntArray, ranks
from unimr.evaluation.scoring import Encoder, Retriever, by_length

CUTS = (1, 5, 10)
MEASURES = ("mrr", *(f"recall_at_{k}" for k in CUTS))
NLU = "nlu"
SCORED_AT_ONCE = 1024

SEEN, UNSEEN = "mean, trained", "mean, not trained"
"""What stands for the language in the rows of means over languages."""

_RATIOS: dict[str, Statistic] = {
    name: partial(lambda place, means: means[..., place] / means[..., -1], place) for place, name in enumerate(MEASURES)
}
"""From means over items of [sum of the measure over its queries …, number of its queries]."""


@dataclass(frozen=True)
class Row:
    """One line of the table: what was reached in a task and language, or as the mean over languages.

    Attributes:
        collection, task: what was measured; `subset` a part of it, or "".
        lang: a language, `SEEN` or `UNSEEN`.
        trained: whether the language was trained.
        queries, gallery: how many; 0 entries where nothing is searched.
        left_out: queries that nothing in the gallery answers.
        scores: measure → value and interval.
    """

    collection: str
    task: str
    subset: str
    lang: str
    trained: bool
    queries: int
    gallery: int
    left_out: int
    scores: dict[str, Score]


@dataclass(frozen=True)
class Options:
    """The split, the languages that were trained, bootstrap draws and their seed."""

    split: str
    trained: Collection[str]
    samples: int = 1000
    seed: int = 0


@dataclass(frozen=True)
class _Part:
    """The values `[rows, columns]` of one language of a task, and its counts."""

    values: FloatArray
    queries: int
    gallery: int = 0
    left_out: int = 0


def measure(model: Retriever, data: Dataset, options: Options) -> list[Row]:
    """Measure a model on everything that the data set holds for the split; broken pictures are added to `data.bad`."""
    pictures = read_pictures(data, photographed(data, options.split))
    encoder = Encoder(model, pictures)
    found: dict[tuple[str, str, str], dict[str, _Part]] = defaultdict(dict)
    for task in build_tasks(data, options.split, pictures):
        rank = task_ranks(task, encoder)
        found[task.collection, task.name, ""][task.lang] = _part(task, rank, np.ones(len(rank), dtype=bool))
        subsets = np.array([data.subsets.get((task.collection, item), "") for item in task.items])
        for subset in sorted({*subsets.tolist()} - {""}):
            found[task.collection, task.name, subset][task.lang] = _part(task, rank, subsets == subset)
    rows = [row for key, parts in found.items() for row in _rows(key, parts, _RATIOS, options)]
    return rows + _understanding(model, data, options)


def task_ranks(task: Task, encoder: Encoder) -> IntArray:
    """Rank of the best-ranked right entry of each query `[queries]`."""
    queries = encoder.images(task.queries) if task.photos == "queries" else encoder.texts(task.queries)
    gallery = encoder.images(task.gallery) if task.photos == "gallery" else encoder.texts(task.gallery)
    number = {item: place for place, item in enumerate(dict.fromkeys(task.gallery_items))}
    entries = np.array([number[item] for item in task.gallery_items])
    asked = np.array([number[item] for item in task.items])
    found = [
        ranks(
            queries[first : first + SCORED_AT_ONCE] @ gallery.T, asked[first : first + SCORED_AT_ONCE, None] == entries
        )
        for first in range(0, len(asked), SCORED_AT_ONCE)
    ]
    return np.concatenate(found)


def query_values(rank: IntArray) -> FloatArray:
    """What each query adds to the means named in `MEASURES`: `[queries]` ranks → `[queries, measures]`."""
    return np.stack([1.0 / rank, *(rank <= k for k in CUTS)], axis=1).astype(np.float64)


def _part(task: Task, rank: IntArray, chosen: np.ndarray) -> _Part:
    """Sums over the queries of every item, and their number `[items, measures + 1]`."""
    items = np.array(task.items)[chosen]
    _, item = np.unique(items, return_inverse=True)
    values = np.concatenate([query_values(rank[chosen]), np.ones((len(items), 1))], axis=1)
    sums = np.zeros((item.max() + 1, values.shape[1]))
    np.add.at(sums, item, values)
    return _Part(sums, len(items), len(task.gallery), task.left_out)


def _rows(
    key: tuple[str, str, str], parts: Mapping[str, _Part], measures: Mapping[str, Statistic], options: Options
) -> list[Row]:
    """A row a language, trained ones first, each group followed by its mean where it has several."""
    rows = []
    for trained, name in ((True, SEEN), (False, UNSEEN)):
        group = {lang: part for lang, part in sorted(parts.items()) if (lang in options.trained) == trained}
        if not group:
            continue
        values = np.concatenate([part.values for part in group.values()])
        languages = [lang for lang, part in group.items() for _ in part.values]
        seed = [options.seed, zlib.crc32("/".join(key).encode()), int(trained)]
        summaries = summarise(values, languages, measures, options.samples, seed)
        rows += [_row(key, lang, trained, part, _of_language(summaries, lang)) for lang, part in group.items()]
        if len(group) > 1:
            total = _Part(
                values,
                sum(part.queries for part in group.values()),
                max(part.gallery for part in group.values()),
                sum(part.left_out for part in group.values()),
            )
            rows.append(_row(key, name, trained, total, {each: found.macro for each, found in summaries.items()}))
    return rows


def _row(key: tuple[str, str, str], lang: str, trained: bool, part: _Part, scores: dict[str, Score]) -> Row:
    collection, task, subset = key
    return Row(collection, task, subset, lang, trained, part.queries, part.gallery, part.left_out, scores)


def _of_language(summaries: Mapping[str, Summary], lang: str) -> dict[str, Score]:
    return {name: summary.languages[lang] for name, summary in summaries.items()}


def _understanding(model: Retriever, data: Dataset, options: Options) -> list[Row]:
    asked: dict[str, dict[str, list[Utterance]]] = defaultdict(lambda: defaultdict(list))
    for utterance in data.utterances:
        if utterance.split == options.split:
            asked[utterance.collection][utterance.lang].append(utterance)
    rows = []
    for collection, languages in sorted(asked.items()):
        parts = {lang: _understood(model, utterances) for lang, utterances in languages.items()}
        rows += _rows((collection, NLU, ""), parts, nlu.MEASURES, options)
    return rows


def _understood(model: Retriever, utterances: Sequence[Utterance]) -> _Part:
    texts = by_length([*{utterance.text for utterance in utterances}])
    answers = dict(zip(texts, model.understand(texts), strict=True))
    actual = [nlu.Frame(utterance.intent, frozenset(utterance.slots)) for utterance in utterances]
    predicted = [
        nlu.Frame(answer.intent, frozenset((slot.start, slot.end, slot.label) for slot in answer.slots))
        for answer in (answers[utterance.text] for utterance in utterances)
    ]
    return _Part(nlu.utterance_values(actual, predicted), len(utterances))
