"""Every measure of a model on the tables: retrieval tasks with baselines, and query understanding."""

from __future__ import annotations

import hashlib
import logging
import math
import zlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from unimr.data.tables import table_files
from unimr.evaluation import nlu
from unimr.evaluation.intervals import Statistic, Summary, summarise
from unimr.evaluation.retrieval import MEASURES, FloatArray
from unimr.evaluation.scoring import (
    Encoder,
    Retriever,
    Scorer,
    by_length,
    leading,
    task_random_values,
    task_values,
    text_scorer,
    vector_scorer,
)
from unimr.evaluation.tasks import Gallery, RetrievalTask, Tables, build_tasks, sample_by_language
from unimr.files import sha256_of

logger = logging.getLogger(__name__)

DIGITS = 4
"""Digits kept in metrics: fewer than a bootstrap interval is wide, so that noise of the last bit does not show."""

NLU = "nlu"

_COLUMNS: dict[str, Statistic] = {
    name: partial(lambda place, means: means[..., place], place) for place, name in enumerate(MEASURES)
}


@dataclass(frozen=True)
class Options:
    """How to measure.

    Attributes:
        samples: bootstrap draws; 0 means no intervals.
        seed: seeds the draws.
        limit_per_language: queries and utterances kept a language and task; 0 keeps all.
        only: names out of `TASK_NAMES`, and "nlu"; empty means everything.
        baselines: whether to measure TF-IDF, BM25 and chance as well.
        leading_dims: also measure with only so many leading dimensions.
    """

    samples: int = 0
    seed: int = 0
    limit_per_language: int = 0
    only: Collection[str] = ()
    baselines: bool = False
    leading_dims: Sequence[int] = ()


@dataclass(frozen=True)
class TaskResult:
    """What the model reached in a retrieval task.

    Attributes:
        task: the task.
        values: `[queries, measures]`, see `scoring.task_values`.
        summaries: measure → scores.
        baselines: name → measure → mean over languages, without a model or with part of the query.
        short: leading dimensions → measure → mean over languages.
    """

    task: RetrievalTask
    values: FloatArray
    summaries: dict[str, Summary]
    baselines: dict[str, dict[str, float]] = field(default_factory=dict)
    short: dict[int, dict[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class NluResult:
    """What query understanding reached, and the intents for the confusion matrix.

    Attributes:
        values: `[utterances, 5]`, see `nlu.utterance_values`.
        languages: of each utterance.
        summaries: measure → scores.
        actual: the intent of each utterance.
        predicted: what the model took it for.
    """

    values: FloatArray
    languages: list[str]
    summaries: dict[str, Summary]
    actual: list[str]
    predicted: list[str]


@dataclass(frozen=True)
class Evaluation:
    """All results of one model, by task."""

    tasks: dict[str, TaskResult]
    nlu: NluResult | None

    def metrics(self) -> dict[str, Any]:
        """The numbers, rounded: task → measure → value, with `_low`, `_high`, and the values of each language."""
        numbers = {name: _task_metrics(result) for name, result in self.tasks.items()}
        if self.nlu:
            numbers[NLU] = {"n": len(self.nlu.actual)} | _summary_metrics(self.nlu.summaries)
            for measure in ("intent_accuracy", "slot_f1"):
                numbers[NLU][f"{measure}_by_language"] = _by_language(self.nlu.summaries[measure])
        return numbers


def evaluate_model(model: Retriever, tables: Tables, options: Options | None = None) -> dict[str, Any]:
    """Measure a model and give the numbers alone, as in `metrics/evaluation.json`.

    Without options: no intervals, no baselines. For a quick look in training: `Options(limit_per_language=100,
    only=("name_to_name",))` gives `{"name_to_name": {"mrr": …, …}}`.

    Raises:
        UnimrError: the model gives vectors that are not finite.
    """
    return measure(Encoder(model, picture_bytes(tables)), tables, options or Options()).metrics()


def measured_on(tables: Path) -> str:
    """Hash of what decides the figures of a model besides the model: the tables in this folder, and this code."""
    names = ("images", "texts", "queries", "qrels", "utterances")
    files = [path for name in names for path in table_files(tables, name)]
    files += sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256("".join(sha256_of(path) for path in files).encode()).hexdigest()[:16]


def picture_bytes(tables: Tables) -> dict[str, bytes]:
    """image_id → encoded picture."""
    return dict(zip(tables.images["image_id"], tables.images["image"], strict=True))


def measure(encoder: Encoder, tables: Tables, options: Options) -> Evaluation:
    """Measure the encoder's model in every task that the tables hold queries for."""
    names = [name for name in options.only if name != NLU]
    tasks = [] if options.only and not names else build_tasks(tables, options.limit_per_language, names)
    results = {}
    for task in tasks:
        results[task.name] = _measure_task(task, encoder, options)
        score = results[task.name].summaries[task.measure].macro
        logger.info("%s: %s %.3f over %d queries", task.name, task.measure, score.value, score.count)
    understood = _measure_nlu(encoder.model, tables, options) if not options.only or NLU in options.only else None
    return Evaluation(results, understood)


def _measure_task(task: RetrievalTask, encoder: Encoder, options: Options) -> TaskResult:
    vectors = encoder.queries(task)
    values = task_values(task, lambda gallery: vector_scorer(vectors, encoder.gallery(gallery)))
    seed = [options.seed, zlib.crc32(task.name.encode())]
    return TaskResult(
        task,
        values,
        summarise(values, task.languages, _COLUMNS, options.samples, seed),
        _baselines(task, encoder) if options.baselines else {},
        {dim: _means(task, _short_values(task, encoder, vectors, dim)) for dim in options.leading_dims},
    )


def _short_values(task: RetrievalTask, encoder: Encoder, vectors: FloatArray, dim: int) -> FloatArray:
    queries = leading(vectors, dim)
    return task_values(task, lambda gallery: vector_scorer(queries, leading(encoder.gallery(gallery), dim)))


def _baselines(task: RetrievalTask, encoder: Encoder) -> dict[str, dict[str, float]]:
    """Baseline → means. Pictures have no words to match; a composed query is compared with each of its halves."""
    found = {"random": _means(task, task_random_values(task))}
    scorers: dict[str, Callable[[Gallery], Scorer]] = {}
    texts = list(task.queries["text"])
    if task.composed:
        pictures, words = encoder.images(list(task.queries["image_id"])), encoder.texts(texts)
        scorers["picture_alone"] = lambda gallery: vector_scorer(pictures, encoder.gallery(gallery))
        scorers["words_alone"] = lambda gallery: vector_scorer(words, encoder.gallery(gallery))
    elif not task.parts[0].gallery.pictures:
        from unimr.evaluation.baselines import Bm25Index, TfidfIndex  # scikit-learn is not needed in training

        scorers["tfidf"] = lambda gallery: text_scorer(TfidfIndex(gallery.keys).scores, texts)
        scorers["bm25"] = lambda gallery: text_scorer(Bm25Index(gallery.keys).scores, texts)
    return found | {name: _means(task, task_values(task, scorer)) for name, scorer in scorers.items()}


def _means(task: RetrievalTask, values: FloatArray) -> dict[str, float]:
    summaries = summarise(values, task.languages, _COLUMNS, samples=0, seed=[0])
    return {name: summary.macro.value for name, summary in summaries.items()}


def _measure_nlu(model: Retriever, tables: Tables, options: Options) -> NluResult | None:
    asked = tables.utterances[tables.utterances["split"] == "test"]
    asked = sample_by_language(asked, "utterance_id", options.limit_per_language)
    if asked.empty:
        logger.warning("nlu: left out, since the tables hold no test utterances")
        return None
    actual = [
        nlu.Frame(intent, frozenset((slot["start"], slot["end"], slot["label"]) for slot in slots))
        for intent, slots in zip(asked["intent"], asked["slots"], strict=True)
    ]
    texts = by_length(asked["text"].unique())
    answers = dict(zip(texts, model.understand(texts), strict=True))
    predicted = [
        nlu.Frame(answer.intent, frozenset((slot.start, slot.end, slot.label) for slot in answer.slots))
        for answer in map(answers.__getitem__, asked["text"])
    ]
    values, languages = nlu.utterance_values(actual, predicted), list(asked["lang"])
    seed = [options.seed, zlib.crc32(NLU.encode())]
    summaries = summarise(values, languages, nlu.MEASURES, options.samples, seed)
    return NluResult(
        values, languages, summaries, [frame.intent for frame in actual], [frame.intent for frame in predicted]
    )


def _task_metrics(result: TaskResult) -> dict[str, Any]:
    task = result.task
    numbers: dict[str, Any] = {
        "n": len(task.queries),
        "left_out": task.left_out,
        "gallery": max(len(part.gallery.keys) for part in task.parts),
        f"{task.measure}_by_language": _by_language(result.summaries[task.measure]),
    }
    numbers |= _summary_metrics(result.summaries)
    for name, means in result.baselines.items():
        numbers[name] = {measure: round(value, DIGITS) for measure, value in means.items()}
    for dim, means in result.short.items():
        numbers[f"leading_{dim}"] = {measure: round(value, DIGITS) for measure, value in means.items()}
    return numbers


def _summary_metrics(summaries: dict[str, Summary]) -> dict[str, float]:
    numbers = {}
    for name, summary in summaries.items():
        numbers[name] = round(summary.macro.value, DIGITS)
        if not math.isnan(summary.macro.low):
            numbers[f"{name}_low"] = round(summary.macro.low, DIGITS)
            numbers[f"{name}_high"] = round(summary.macro.high, DIGITS)
    return numbers


def _by_language(summary: Summary) -> dict[str, float]:
    return {lang: round(score.value, DIGITS) for lang, score in summary.languages.items()}
