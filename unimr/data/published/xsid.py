"""xSID (van der Goot et al. 2021): CoNLL files, a word a line with its BIO tag, comments for text and intent.

`# text = …` holds the words as they are written. The words below it are found in it one after the other, whatever
stands between them. The development set is the only part of most languages: a fifth of it, by a hash of the id, is
`dev`, and the rest may be trained on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from unimr.data.published.languages import language_tag
from unimr.data.published.partition import dev_or_train
from unimr.data.published.reading import Reading
from unimr.data.published.records import Utterance

COLLECTION = "xsid"

_FILE = re.compile(r"(?P<lang>[a-z]{2,3}(?:-[a-z]+)?)\.(?:projectedTrain\.)?(?P<part>train|valid|test)\.conll")
_COMMENT = re.compile(r"# *(?P<key>[a-z-]+) *[=:] *(?P<value>.*)")


def read(reading: Reading) -> None:
    """Read every `<language>.<part>.conll`."""
    for path in reading.folder.find("*.conll"):
        file = _FILE.fullmatch(path.name)
        if not file:
            continue
        lang = language_tag(file["lang"])
        for place, (number, comments, rows) in enumerate(_sentences(reading, path), start=1):
            try:
                key = comments.get("id", str(place)).strip()  # the English files state none
                text, intent = comments["text"].strip(), comments["intent"].strip()
                slots = _slots(text, rows)
            except KeyError as error:
                reading.bad(path, number, f"the comment {error} is missing")
            except ValueError as error:
                reading.bad(path, number, str(error))
            else:
                split = {"train": "train", "test": "test"}.get(file["part"]) or dev_or_train(COLLECTION, key)
                utterance = Utterance(COLLECTION, f"xsid:{lang}.{file['part']}.{key}", lang, text, intent, slots, split)
                reading.utterance((path, number), utterance)


def _sentences(reading: Reading, path: Path) -> Iterator[tuple[int, dict[str, str], list[list[str]]]]:
    """First line, comments, and the columns of the words of every sentence."""
    begun = 0
    comments: dict[str, str] = {}
    rows: list[list[str]] = []
    for number, line in [*reading.lines(path), (0, "")]:
        if line.startswith("#") and not rows:
            found = _COMMENT.fullmatch(line)
            comments |= {found["key"]: found["value"]} if found else {}
        elif line.strip():
            rows.append(line.split("\t"))
        elif rows:
            yield begun, comments, rows
            comments, rows = {}, []
        begun = begun if comments or rows else number + 1


def _slots(text: str, rows: list[list[str]]) -> tuple[tuple[int, int, str], ...]:
    slots: list[tuple[int, int, str]] = []
    place = 0
    for row in rows:
        if len(row) < 4:
            raise ValueError(f"a word has {len(row)} columns: {row[:4]}; four are expected, parted by tabs")
        word, tag = row[1], row[3].strip()
        start = text.find(word, place)
        if start < 0:
            raise ValueError(f"the word {word!r} is not in the text {text[:60]!r}")
        place = start + len(word)
        label = tag[2:]
        if tag.startswith("B-") or (tag.startswith("I-") and (not slots or slots[-1][2] != label)):
            slots.append((start, place, label))
        elif tag.startswith("I-"):
            slots[-1] = (slots[-1][0], place, label)
        elif tag != "O":
            raise ValueError(f"{tag!r} is no BIO tag")
    return tuple(slots)
