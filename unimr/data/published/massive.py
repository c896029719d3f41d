"""MASSIVE 1.1 (FitzGerald et al. 2022): a JSON object an utterance, intent and slots, parallel by id.

`annot_utt` writes a slot as `[label : words]`. White space differs between it and `utt` where a language has none, so
the two are aligned by all other characters.
"""

from __future__ import annotations

import re

from unimr.data.published.languages import language_tag
from unimr.data.published.reading import Reading, string
from unimr.data.published.records import Utterance

COLLECTION = "massive"
SPLITS = {"train": "train", "dev": "dev", "test": "test"}

_PART = re.compile(r"\[\s*(?P<label>[a-z_]+)\s*:(?P<words>[^\[\]]*)\]|(?P<plain>[^\[\]]+)")


def read(reading: Reading) -> None:
    """Read every locale; held-out partitions come as `heldout` files and are not read."""
    for path in reading.folder.find("??-??.jsonl", "??-??.jsonl.gz"):
        for number, record in reading.objects(path):
            try:
                key, locale, partition, intent, text, annotated = string(
                    record, "id", "locale", "partition", "intent", "utt", "annot_utt"
                )
                split, slots = SPLITS[partition], slots_of(text, annotated)
            except KeyError as error:
                reading.bad(path, number, f"the partition {error} is not one of {', '.join(SPLITS)}")
            except ValueError as error:
                reading.bad(path, number, str(error))
            else:
                lang = language_tag(locale)
                utterance = Utterance(COLLECTION, f"massive:{lang}.{key}", lang, text, intent, slots, split)
                reading.utterance((path, number), utterance)


def slots_of(text: str, annotated: str) -> tuple[tuple[int, int, str], ...]:
    """Slots (start, end, label) in the characters of `text`, from its annotated form.

    Raises:
        ValueError: the brackets are broken, or the annotated form is not the text.
    """
    places = [place for place, letter in enumerate(text) if not letter.isspace()]
    seen, end_before, slots = "", 0, []
    for part in _PART.finditer(annotated):
        if part.start() != end_before:
            break
        end_before, start = part.end(), len(seen)
        seen += "".join((part["words"] if part["label"] else part["plain"]).split())
        if part["label"] and len(seen) > start and len(seen) <= len(places):
            slots.append((places[start], places[len(seen) - 1] + 1, part["label"]))
    if end_before != len(annotated) or seen != "".join(text.split()):
        raise ValueError(f"annot_utt {annotated[:60]!r} is not utt {text[:60]!r} with slots in brackets")
    return tuple(slots)
