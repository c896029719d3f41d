"""XQuAD (Artetxe et al. 2020) and any file in the format of SQuAD 1.1: a question is answered by its paragraph.

Files are `xquad.<language>.json`, `train-v*.json` and `dev-v*.json` (SQuAD). XQuAD has no training part: a fifth of
its articles is `dev`, and the rest may be trained on. Its paragraphs are parallel by the ids of their questions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unimr.data.published.languages import language_tag
from unimr.data.published.partition import dev_or_train
from unimr.data.published.reading import Reading, string
from unimr.data.published.records import Text

_XQUAD = re.compile(r"xquad\.(?P<lang>[a-z]{2})\.json")
SQUAD_FILES = {"train-v*.json": "train", "dev-v*.json": "dev"}


def read(reading: Reading) -> None:
    """Read every file; `line` of a bad record is the place of the article, counted from 1."""
    for path in reading.folder.find("xquad.*.json"):
        if found := _XQUAD.fullmatch(path.name):
            _read_file(reading, path, "xquad", language_tag(found["lang"]), None)
    for pattern, split in SQUAD_FILES.items():
        for path in reading.folder.find(pattern):
            _read_file(reading, path, "squad", reading.lang, split)


def _read_file(reading: Reading, path: Path, collection: str, lang: str, split: str | None) -> None:
    for number, paragraphs in _articles(reading, path):
        first = ""
        for paragraph in paragraphs:
            place = path, number
            try:
                (context,) = string(paragraph, "context")
                asked = [string(question, "id", "question") for question in paragraph["qas"]]
                item = f"{collection}:{asked[0][0]}"
            except (ValueError, KeyError, TypeError, IndexError) as error:
                reading.bad(*place, f"a paragraph without context, or a question without id and words: {error}")
                continue
            first = first or item
            part = split or dev_or_train(collection, first)
            reading.text(place, Text(collection, item, lang, "paragraph", context, part))
            for _, question in asked:
                reading.text(place, Text(collection, item, lang, "question", question, part))


def _articles(reading: Reading, path: Path) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    articles = reading.json(path).get("data", [])
    for number, article in enumerate(articles if isinstance(articles, list) else [], start=1):
        paragraphs = article.get("paragraphs") if isinstance(article, dict) else None
        if isinstance(paragraphs, list):
            yield number, paragraphs
        else:
            reading.bad(path, number, "the article has no list of paragraphs")
