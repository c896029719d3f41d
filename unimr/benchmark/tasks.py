"""The tasks that published data sets hold: which queries are asked of which gallery.

A query is answered by every entry of its gallery that belongs to its item: a photograph by any of its captions, a
question by the paragraph it was written for. Each language has a gallery of its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from unimr.data.published import crossmodal, ntrex, tatoeba, xtd10
from unimr.data.published.records import UNSTATED, Dataset, Text

ENGLISH = "en"

ALL_TEST = frozenset({xtd10.COLLECTION, crossmodal.COLLECTION})
"""Collections that nobody trains on: measured whatever split is asked for."""

NO_PARTS = frozenset({"xquad", ntrex.SENTENCES, ntrex.DOCUMENTS, tatoeba.COLLECTION})
"""Collections published without a training part: `dev` is the fifth that is never trained, `test` all of the file."""


@dataclass(frozen=True)
class Task:
    """Queries of one language and what is searched.

    Attributes:
        collection: the data set.
        name: such as `text_to_image`.
        lang: of the queries, or of the gallery where the queries are photographs or English.
        queries: texts, or items of photographs.
        items: the item of each query.
        gallery: texts, or items of photographs.
        gallery_items: the item of each entry.
        photos: which side is photographs: "", "queries" or "gallery".
        left_out: queries that nothing in the gallery answers; they are not asked.
    """

    collection: str
    name: str
    lang: str
    queries: tuple[str, ...]
    items: tuple[str, ...]
    gallery: tuple[str, ...]
    gallery_items: tuple[str, ...]
    photos: str = ""
    left_out: int = 0


def is_measured(collection: str, split: str, asked: str) -> bool:
    """Whether a record of a collection and split belongs to the split that was asked for."""
    whole = collection in NO_PARTS or split == UNSTATED
    return split == asked or collection in ALL_TEST or (asked == "test" and whole)


def photographed(data: Dataset, split: str) -> set[str]:
    """Items with captions in the split: those whose photographs are searched."""
    return {text.item_id for text in data.texts if text.role == "caption" and _is_asked(text, split)}


def _is_asked(text: Text, split: str) -> bool:
    return is_measured(text.collection, text.split, split)


def build_tasks(data: Dataset, split: str, pictures: Collection[str]) -> list[Task]:
    """Every task of the split that the texts and the photographs (`pictures`: their items) allow."""
    found: dict[str, dict[tuple[str, str], list[Text]]] = defaultdict(lambda: defaultdict(list))
    for text in data.texts:
        if _is_asked(text, split):
            found[text.collection][text.role, text.lang].append(text)
    tasks = [task for collection, texts in sorted(found.items()) for task in _tasks(collection, texts, pictures)]
    return [task for task in tasks if task.queries]


def _tasks(collection: str, texts: dict[tuple[str, str], list[Text]], pictures: Collection[str]) -> Iterator[Task]:
    described = {row.item_id for (role, _), rows in texts.items() if role == "caption" for row in rows}
    shown = tuple(sorted(described & set(pictures)))
    for role, lang in sorted(texts):
        rows, english = texts[role, lang], texts.get((role, ENGLISH), [])
        if role == "caption":
            yield from _caption_tasks(collection, lang, rows, english, shown)
        elif role == "question":
            yield from _question_tasks(collection, lang, texts)
        elif role in ("sentence", "document") and lang != ENGLISH:
            both = {row.item_id for row in rows} & {row.item_id for row in english}
            here, there = ([row for row in side if row.item_id in both] for side in (rows, english))
            yield _text_task(collection, f"{role}_to_english", lang, here, there)
            yield _text_task(collection, f"english_to_{role}", lang, there, here)


def _caption_tasks(
    collection: str, lang: str, captions: list[Text], english: list[Text], shown: tuple[str, ...]
) -> Iterator[Task]:
    """Captions and photographs both ways, and captions against English ones.

    Where photographs are there (`shown`), only their captions are asked; else all are.
    """
    pictures = set(shown)
    if shown:
        left_out = sum(row.item_id not in pictures for row in captions)
        captions = [row for row in captions if row.item_id in pictures]
        english = [row for row in english if row.item_id in pictures]
        words, items = tuple(row.text for row in captions), tuple(row.item_id for row in captions)
        asked = tuple(item for item in shown if item in set(items))
        yield Task(collection, "text_to_image", lang, words, items, shown, shown, "gallery", left_out)
        yield Task(collection, "image_to_text", lang, asked, asked, words, items, "queries", len(shown) - len(asked))
    if lang != ENGLISH:
        yield _text_task(collection, "caption_to_english", lang, captions, english)


def _question_tasks(collection: str, lang: str, texts: dict[tuple[str, str], list[Text]]) -> Iterator[Task]:
    asked, english = texts["question", lang], texts.get(("question", ENGLISH), [])
    here, there = texts.get(("paragraph", lang), []), texts.get(("paragraph", ENGLISH), [])
    yield _text_task(collection, "question_to_paragraph", lang, asked, here)
    if lang != ENGLISH:
        yield _text_task(collection, "question_to_english_paragraph", lang, asked, there)
        yield _text_task(collection, "english_question_to_paragraph", lang, english, here)


def _text_task(collection: str, name: str, lang: str, queries: Sequence[Text], gallery: Sequence[Text]) -> Task:
    answered = {row.item_id for row in gallery}
    asked = [row for row in queries if row.item_id in answered]
    return Task(
        collection,
        name,
        lang,
        tuple(row.text for row in asked),
        tuple(row.item_id for row in asked),
        tuple(row.text for row in gallery),
        tuple(row.item_id for row in gallery),
        left_out=len(queries) - len(asked),
    )
