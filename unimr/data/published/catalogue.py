"""Published data sets as a catalogue for the pipeline: items with names, keywords and descriptions, and utterances.

A photograph's first caption in a language is its name, and its other captions are keywords; a paragraph or a document
is a description, the questions that it answers are names and keywords; a sentence is a name, or a description if it is
long. So all that comes after `prepare` (validation, training, index, page) meets the same tables as ever.

The splits are the official ones: `dev` is what the pipeline tests on, and `test` is left out of the tables altogether.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from unimr.data.items import Item, ItemText, Picture
from unimr.data.published.pictures import read_pictures
from unimr.data.published.records import UNSTATED, BadRecord, Dataset, Text, Utterance
from unimr.data.published.sources import data_root, read_sources
from unimr.data.splits import SplitText
from unimr.data.tables import SCHEMAS
from unimr.data.text import normalise, segment
from unimr.params import Params, PrepareParams

log = logging.getLogger(__name__)

STYLE = "photo"
MAX_NAME = 400
"""Characters of a text that is shown as a name or matched as a keyword; a longer one is a description."""

SPLITS = {UNSTATED: "train", "train": "train", "dev": "test_item"}
"""Official split → split of items in the tables."""


@dataclass(frozen=True)
class PublishedCatalogue:
    """What the tables are made from, and what was left out on the way: records, and sound ones by reason."""

    items: list[Item]
    texts: list[SplitText]
    utterances: pd.DataFrame
    weights: dict[str, float]
    bad: list[BadRecord]
    counts: dict[str, int]
    left_out: dict[str, int]


def read_catalogue(params: Params, root: Path) -> PublishedCatalogue:
    """Read `data.sources` below the data root.

    Raises:
        UnimrError: the data root is not known or a source is missing.
    """
    data = read_sources(data_root(params.data, root), params.data.sources)
    pictures = read_pictures(data, {item for item, photo in data.photos.items() if photo.split in SPLITS})
    left_out: Counter[str] = Counter()
    texts = list(_usable_texts(params.prepare, data, pictures, left_out))
    utterances = _utterance_rows(params.prepare, data.utterances, left_out)
    for reason, count in left_out.items():
        log.info("left out, %s: %d", reason, count)
    return PublishedCatalogue(
        items=_items(texts, pictures),
        texts=_split_texts(params.prepare, texts),
        utterances=pd.DataFrame(utterances, columns=SCHEMAS["utterances"].names),
        weights=_weights(params, data),
        bad=data.bad,
        counts=data.counts,
        left_out=dict(left_out),
    )


def _usable_texts(
    params: PrepareParams, data: Dataset, pictures: dict[str, bytes], left_out: Counter[str]
) -> Iterator[Text]:
    """Texts of the configured languages and of `train` and `dev`, without what would leak or can answer no query.

    Captions in several languages teach what words mean where their photograph is not there, too.
    """
    languages = {*params.languages, *params.untrained_languages}
    held_out = {(text.lang, normalise(text.text)) for text in data.texts if text.split == "dev"}
    for text in data.texts:
        if text.split not in SPLITS:
            left_out["text of a test split"] += 1
        elif text.lang not in languages:
            left_out["text in a language that is not configured"] += 1
        elif text.split == "dev" and text.role == "caption" and text.item_id not in pictures:
            left_out["held-out caption of a photograph that is not there"] += 1
        elif SPLITS[text.split] == "train" and (text.lang, normalise(text.text)) in held_out:
            left_out["train text that is also a held-out one"] += 1
        else:
            yield text


def _items(texts: Iterable[Text], pictures: dict[str, bytes]) -> list[Item]:
    found = {text.item_id: text for text in reversed(list(texts))}
    return [
        Item(
            item_id,
            item_id,
            {"base": item_id, "collection": text.collection},
            pictures=(Picture(STYLE, pictures[item_id]),) if item_id in pictures else (),
            split=SPLITS[text.split],
        )
        for item_id, text in sorted(found.items())
    ]


def _split_texts(params: PrepareParams, texts: Iterable[Text]) -> list[SplitText]:
    """Texts with the roles of the tables: the first short one of an item and language that no other has is its name."""
    named: set[tuple[str, str]] = set()
    taken: set[tuple[str, str]] = set()
    rows = []
    for text in texts:
        of_item, word = (text.item_id, text.lang), (text.lang, normalise(text.text))
        role = "description"
        if text.role not in ("paragraph", "document") and len(text.text) <= MAX_NAME:
            role = "name" if of_item not in named and word not in taken else "keyword"
        if role == "name":
            named.add(of_item)
            taken.add(word)
        split = "untrained" if text.lang in params.untrained_languages else SPLITS[text.split]
        rows.append(SplitText(text.item_id, ItemText(text.lang, role, text.text), split))
    return rows


def _utterance_rows(
    params: PrepareParams, utterances: Iterable[Utterance], left_out: Counter[str]
) -> Iterator[dict[str, object]]:
    """One annotation a text and language, that of the held-out part first; spans begin and end with a word."""
    seen: set[tuple[str, str]] = set()
    for row in sorted(utterances, key=lambda row: row.split != "dev"):  # stable: else the order of the files
        key = row.lang, normalise(row.text)
        if row.split == "test" or row.lang not in params.languages:
            left_out["utterance of a test split or a language that is not trained"] += 1
        elif key in seen:
            left_out["utterance whose text is there already"] += 1
        elif not _fits_words(row):
            left_out["utterance with a slot that cuts a word"] += 1
        else:
            seen.add(key)
            split = "train" if row.split == "train" else "test"
            yield {
                "utterance_id": f"{row.lang}/{split}/{row.utterance_id}",
                "lang": row.lang,
                "text": row.text,
                "intent": row.intent,
                "slots": [{"start": start, "end": end, "label": label} for start, end, label in row.slots],
                "item_id": None,
                "split": split,
            }


def _fits_words(utterance: Utterance) -> bool:
    words = segment(utterance.text) if utterance.slots else []
    starts, ends = {word.start for word in words}, {word.end for word in words}
    return all(start in starts and end in ends for start, end, _ in utterance.slots)


def _weights(params: Params, data: Dataset) -> dict[str, float]:
    """Origin of records → weight: the largest of the sources that gave some."""
    found: dict[str, float] = defaultdict(float)
    for source in params.data.sources:
        for of_source in data.origins[source.name]:
            found[of_source] = max(found[of_source], source.weight)
    return dict(sorted(found.items()))
