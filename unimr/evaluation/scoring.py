"""Asking the model: vectors of every distinct text and picture once, scores, and what each query got."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from unimr.data.text import forms
from unimr.errors import UnimrError
from unimr.evaluation.retrieval import MEASURES, FloatArray, IntArray, query_values, random_values, ranks
from unimr.evaluation.tasks import Gallery, Part, RetrievalTask

ENCODED_AT_ONCE = 2048
SCORED_AT_ONCE = 2048

Scorer = Callable[[IntArray], FloatArray]
"""Row numbers of a task's queries `[rows]` → scores `[rows, gallery]`."""


class Retriever(Protocol):
    """What evaluation asks of a model (`UnifiedRetriever` has it)."""

    def encode_texts(self, texts: Sequence[str]) -> FloatArray:
        """Unit vectors `[texts, dim]`."""

    def encode_images(self, images: Sequence[bytes]) -> FloatArray:
        """Unit vectors `[images, dim]` of encoded pictures."""

    def compose(self, image_vectors: FloatArray, text_vectors: FloatArray) -> FloatArray:
        """Unit vectors `[queries, dim]` of pictures changed by words."""

    def understand(self, texts: Sequence[str]) -> Sequence[Any]:
        """An `Understanding` a text."""

    def parameters(self) -> Iterable[Any]:
        """The learned tensors."""


class Encoder:
    """Vectors of texts and pictures; each distinct one is encoded once and remembered.

    Args:
        model: encodes them.
        images: image_id → encoded picture.
        image_vectors: image_id → unit vector, of pictures that this model has encoded before.
    """

    def __init__(
        self, model: Retriever, images: dict[str, bytes], image_vectors: dict[str, FloatArray] | None = None
    ) -> None:
        self.model = model
        self._images = images
        self._text_vectors: dict[str, FloatArray] = {}
        self._image_vectors = dict(image_vectors or {})

    def texts(self, texts: Sequence[str]) -> FloatArray:
        """Unit vectors `[texts, dim]`."""
        new = by_length([text for text in dict.fromkeys(texts) if text not in self._text_vectors])
        return _remembered(texts, new, self._text_vectors, self.model.encode_texts)

    def images(self, image_ids: Sequence[str]) -> FloatArray:
        """Unit vectors `[image_ids, dim]`."""
        new = [image_id for image_id in dict.fromkeys(image_ids) if image_id not in self._image_vectors]
        return _remembered(
            image_ids,
            new,
            self._image_vectors,
            lambda some: self.model.encode_images([self._images[image_id] for image_id in some]),
        )

    def gallery(self, gallery: Gallery) -> FloatArray:
        """Unit vectors `[gallery, dim]`."""
        return self.images(gallery.keys) if gallery.pictures else self.texts(gallery.keys)

    def queries(self, task: RetrievalTask) -> FloatArray:
        """Unit vectors `[queries, dim]`; a query with a picture is composed of the picture and the words."""
        words = self.texts(list(task.queries["text"]))
        if not task.composed:
            return words
        return self.model.compose(self.images(list(task.queries["image_id"])), words)


def by_length(texts: Sequence[str]) -> list[str]:
    """Texts by their number of words: a batch is padded to its longest text, so like goes with like."""
    return sorted(texts, key=lambda text: len(forms(text)))


def _remembered(
    keys: Sequence[str],
    new: list[str],
    known: dict[str, FloatArray],
    encode: Callable[[Sequence[str]], FloatArray],
) -> FloatArray:
    for first in range(0, len(new), ENCODED_AT_ONCE):
        some = new[first : first + ENCODED_AT_ONCE]
        vectors = encode(some)
        if len(vectors) != len(some) or not np.isfinite(vectors).all():
            raise UnimrError(
                f"The model gave {len(vectors)} vectors for {len(some)} inputs (beginning with {some[0]!r}), or some "
                "that are not finite. Train it anew: remove models/train_joint and run `dvc repro`."
            )
        known.update(zip(some, vectors, strict=True))
    return np.stack([known[key] for key in keys])


def leading(vectors: FloatArray, dim: int) -> FloatArray:
    """The leading `dim` dimensions of `[rows, dim]` vectors, at unit length again (Matryoshka)."""
    short = vectors[:, :dim]
    return np.asarray(short / np.maximum(np.linalg.norm(short, axis=1, keepdims=True), 1e-12))


def vector_scorer(queries: FloatArray, gallery: FloatArray) -> Scorer:
    """Cosine of unit vectors: `[queries, dim]` against `[gallery, dim]`."""
    entries = np.ascontiguousarray(gallery.T)
    return lambda rows: queries[rows] @ entries


def text_scorer(scores: Callable[[list[str]], FloatArray], texts: Sequence[str]) -> Scorer:
    """Scores of a lexical index (`[texts, gallery]`) for the texts of the queries."""
    return lambda rows: scores([texts[row] for row in rows])


def task_values(task: RetrievalTask, scorer_of: Callable[[Gallery], Scorer]) -> FloatArray:
    """What each query reached in each measure, averaged over the galleries it was asked of: `[queries, measures]`.

    The picture a composed query starts from is hidden: it cannot be the answer.
    """
    total = np.zeros((len(task.queries), len(MEASURES)))
    asked = np.zeros((len(task.queries), 1))
    for part in task.parts:
        scorer = scorer_of(part.gallery)
        for rows in _blocks(part):
            rank = ranks(_scores(task, part.gallery, scorer, rows), task.relevance(part.gallery, rows))
            total[rows] += query_values(rank)
            asked[rows] += 1
    return total / asked


def task_random_values(task: RetrievalTask) -> FloatArray:
    """Expectation of `task_values` when every gallery is put in random order: `[queries, measures]`."""
    total = np.zeros((len(task.queries), len(MEASURES)))
    asked = np.zeros((len(task.queries), 1))
    for part in task.parts:
        relevant = task.relevance(part.gallery, part.rows).sum(axis=1)
        expected = {count: random_values(len(part.gallery.keys), count) for count in sorted(set(relevant.tolist()))}
        total[part.rows] += np.stack([expected[count] for count in relevant.tolist()])
        asked[part.rows] += 1
    return total / asked


def _blocks(part: Part) -> Iterator[IntArray]:
    for first in range(0, len(part.rows), SCORED_AT_ONCE):
        yield part.rows[first : first + SCORED_AT_ONCE]


def _scores(task: RetrievalTask, gallery: Gallery, scorer: Scorer, rows: IntArray) -> FloatArray:
    scores = scorer(rows)
    if gallery.pictures and task.composed:
        shown = task.queries["image_id"].to_numpy()[rows]
        scores[np.asarray(gallery.keys)[None, :] == shown[:, None]] = -np.inf
    return scores


@dataclass(frozen=True)
class WorstQuery:
    """A query that went badly: the rank of the right item, and the items that came first instead."""

    lang: str
    text: str
    rank: int
    expected: str
    got: tuple[str, ...]


def worst_queries(task: RetrievalTask, values: FloatArray, encoder: Encoder, shown: int) -> list[WorstQuery]:
    """The worst query of each language, the worst languages' first, at most `shown`, with the top three they got.

    Args:
        task: the task.
        values: its `task_values`.
        encoder: remembers the vectors of the task.
        shown: how many at most.
    """
    order = np.argsort(values[:, 0], kind="stable")
    worst = list({task.languages[row]: row for row in reversed(order)}.values())
    rows = np.array(sorted(worst, key=lambda row: (values[row, 0], row))[:shown])
    vectors = encoder.queries(task)
    found = []
    for row in rows:
        part = next(part for part in task.parts if row in part.rows)
        at = np.array([row])
        scores = _scores(task, part.gallery, vector_scorer(vectors, encoder.gallery(part.gallery)), at)
        rank = int(ranks(scores, task.relevance(part.gallery, at))[0])
        first = np.argsort(-scores[0], kind="stable")[:3]
        got = tuple(part.gallery.item_ids[place] for place in first)
        query = task.queries.iloc[row]
        found.append(WorstQuery(query["lang"], query["text"], rank, task.relevant[row][0], got))
    return found
