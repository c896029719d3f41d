"""Checks of single rows: each returns the failing rows as index label → reason.

A check gets the whole catalogue, since a row may have to agree with another table, and its limits from the suite.
Nulls are left to the expectation that forbids them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import regex

from unimr.data.text import segment
from unimr.quality.catalogue import Catalogue

Limits = Mapping[str, Any]
Failing = dict[int, str]

_CONTROL = regex.compile(r"[\p{Cc}\p{Co}\p{Cs}\uFFFD\u2028\u2029]")


def refers_to(catalogue: Catalogue, limits: Limits) -> Failing:
    """`table.column` occurs in at least one of the columns `to` (`[[table, column], …]`)."""
    column = catalogue.tables[limits["table"]][limits["column"]]
    known: set[str] = set()
    for table, other in limits["to"]:
        known.update(catalogue.tables[table][other].dropna())
    orphans = column[column.notna() & ~column.isin(known)]
    places = " or ".join(".".join(place) for place in limits["to"])
    return {label: f"{limits['column']} {value!r} is not in {places}" for label, value in orphans.items()}


def id_is_made_of(catalogue: Catalogue, limits: Limits) -> Failing:
    """`table.column` is `/`-joined from the columns `parts`, perhaps with a number after them."""
    frame = catalogue.tables[limits["table"]]
    made = frame[limits["parts"][0]].str.cat([frame[part] for part in limits["parts"][1:]], sep="/")
    found = frame[limits["column"]]
    good = [
        isinstance(a, str) and isinstance(b, str) and (a == b or a.startswith(b + "/"))
        for a, b in zip(found, made, strict=True)
    ]
    wrong = frame.index[~pd.Series(good, dtype=bool).to_numpy()]
    return {label: f"{limits['column']} {found[label]!r} does not begin with {made[label]!r}" for label in wrong}


def text_is_clean(catalogue: Catalogue, limits: Limits) -> Failing:
    """No white space at the edges, no control or replacement characters, and something is left after normalising."""
    failing = {}
    for label, text in catalogue.tables[limits["table"]]["text"].items():
        if not isinstance(text, str):
            continue
        if not text.strip():
            failing[label] = "the text is empty or only white space"
        elif text != text.strip():
            failing[label] = f"white space at the edge of {text[:60]!r}"
        elif found := _CONTROL.search(text):
            failing[label] = f"the character U+{ord(found.group()):04X} stands in {text[:60]!r}"
    return failing


def kind_fits_role(catalogue: Catalogue, limits: Limits) -> Failing:
    """`kind` is that of the role (`kinds`), and the text is at most as long as the kind allows (`max_characters`)."""
    failing = {}
    texts = catalogue.tables["texts"]
    for label, kind, role, text in zip(texts.index, texts["kind"], texts["role"], texts["text"], strict=True):
        if limits["kinds"].get(role, kind) != kind:
            failing[label] = f"a {role} is {limits['kinds'][role]}, not {kind!r}"
        elif isinstance(text, str) and len(text) > limits["max_characters"].get(kind, len(text)):
            failing[label] = f"a {kind} text of {len(text)} characters"
    return failing


def text_is_new_for_item(catalogue: Catalogue, _limits: Limits) -> Failing:
    """An item has a text once a language and role; every later copy fails."""
    texts = catalogue.tables["texts"].assign(form=catalogue.forms["texts"])
    again = texts[texts.duplicated(["item_id", "lang", "role", "form"]) & texts["text"].notna()]
    return {
        label: f"{row.item_id} has the {row.role} {row.text!r} in {row.lang} already"
        for label, row in zip(again.index, again.itertuples(), strict=True)
    }


def attributes_are_known(catalogue: Catalogue, limits: Limits) -> Failing:
    """Attributes with a closed set of values (`values`: name → values) hold one of them."""
    failing = {}
    for label, attributes in catalogue.tables["images"]["attributes"].items():
        for name, known in limits["values"].items():
            if isinstance(attributes, dict) and attributes.get(name, known[0]) not in known:
                failing[label] = f"{name} {attributes[name]!r} is not one of {', '.join(known)}"
    return failing


def picture_is_readable(catalogue: Catalogue, _limits: Limits) -> Failing:
    """The bytes are a whole PNG, JPEG or WebP within the bounds of `unimr.quality.pictures`."""
    return {label: picture.problem for label, picture in catalogue.pictures.items() if picture.problem}


def picture_size_is_stated(catalogue: Catalogue, _limits: Limits) -> Failing:
    """`width` and `height` are those of the picture."""
    images = catalogue.tables["images"]
    return {
        label: f"stated {width} x {height}, the picture is {picture.width} x {picture.height}"
        for label, width, height, picture in zip(
            images.index, images["width"], images["height"], catalogue.pictures, strict=True
        )
        if not picture.problem and (width, height) != (picture.width, picture.height)
    }


def picture_sha256_is_stated(catalogue: Catalogue, _limits: Limits) -> Failing:
    """`sha256` is that of the bytes."""
    images = catalogue.tables["images"]
    return {
        label: f"stated {str(stated)[:12]}…, the bytes have {picture.sha256[:12]}…"
        for label, stated, picture in zip(images.index, images["sha256"], catalogue.pictures, strict=True)
        if picture.sha256 and stated != picture.sha256
    }


def slot_labels_are_known(catalogue: Catalogue, limits: Limits) -> Failing:
    """Every slot has one of the `labels`."""
    failing = {}
    for label, slots in catalogue.tables["utterances"]["slots"].items():
        unknown = [slot["label"] for slot in slots or () if slot["label"] not in limits["labels"]]
        if unknown:
            failing[label] = f"unknown slot label {unknown[0]!r}"
    return failing


def spans_are_sound(catalogue: Catalogue, _limits: Limits) -> Failing:
    """Spans lie in the text, do not overlap, and begin and end with a word of `unimr.data.text.segment`."""
    utterances = catalogue.tables["utterances"]
    failing = {}
    for label, text, slots in zip(utterances.index, utterances["text"], utterances["slots"], strict=True):
        if isinstance(text, str) and slots and (problem := _span_problem(text, slots)):
            failing[label] = problem
    return failing


def _span_problem(text: str, slots: list[dict[str, Any]]) -> str:
    """What is wrong with the spans of one text, or nothing."""
    if any(slot["start"] is None or slot["end"] is None for slot in slots):
        return "a span has no start or no end"
    words = segment(text)
    starts, ends = {word.start for word in words}, {word.end for word in words}
    end_before = 0
    for start, end in sorted((slot["start"], slot["end"]) for slot in slots):
        place = f"span {start}:{end} ({text[max(start, 0) : max(end, 0)]!r})"
        if not 0 <= start < end <= len(text):
            return f"{place} is not in the {len(text)} characters of the text"
        if start < end_before:
            return f"{place} overlaps the one before it"
        if not text[start:end].strip() or text[start:end] != text[start:end].strip():
            return f"{place} is blank or has white space at its edge"
        if start not in starts or end not in ends:
            return f"{place} does not begin and end with a word"
        end_before = end
    return ""


def same_text_same_annotation(catalogue: Catalogue, _limits: Limits) -> Failing:
    """Two utterances of one language with the same text have the same intent and slots."""
    first: dict[tuple[str, str], tuple[object, ...]] = {}
    failing = {}
    utterances = catalogue.tables["utterances"]
    columns = (utterances[name] for name in ("lang", "text", "intent", "slots"))
    for label, lang, text, intent, slots in zip(utterances.index, *columns, strict=True):
        spans = tuple(sorted((slot["label"] or "", slot["start"] or 0, slot["end"] or 0) for slot in slots or ()))
        if first.setdefault((lang, text), (intent, spans)) != (intent, spans):
            failing[label] = f"{text!r} is annotated in another way elsewhere"
    return failing
