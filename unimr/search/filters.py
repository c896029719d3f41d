"""From words to typed filters: the slots of a query, and `--filter style=openmoji` on the command line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from unimr.data.text import normalise
from unimr.errors import UnimrError
from unimr.files import read_json
from unimr.index.schema import FILTER_FIELDS, NUMBER_FIELDS, Filter

if TYPE_CHECKING:
    from unimr.model.nlu import PredictedSlot

SIMILARITY_FLOOR = 0.75
"""Share of matching characters (`difflib` ratio) below which a surface is not taken for a known one."""
MAX_RESULTS = 100
MAX_FILTER_CHARACTERS = 200
FILTER_SLOTS = ("style", "category", "skin_tone", "gender")
_YEAR = re.compile(r"(?<!\d)\d{4}(?!\d)")  # digits of any script
_NUMBER = re.compile(r"\d{1,4}")
_EXPRESSION = re.compile(r"\s*([a-z_]+)\s*(==|!=|>=|<=|=|>|<)\s*(.*?)\s*", re.DOTALL)


@dataclass(frozen=True)
class SlotReading:
    """What the slots of a query ask for: typed filters, how many results, and slots that could not be read."""

    filters: list[Filter] = field(default_factory=list)
    count: int | None = None
    unread: list[str] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)
    """Words of a slot → what they were read as."""


class SlotLexicon:
    """The known words of slot values: `{lang: {label: {value: [words]}}}`, compared after normalising."""

    def __init__(self, values: Mapping[str, Mapping[str, Mapping[str, Sequence[str]]]]) -> None:
        self._words: dict[tuple[str, str], dict[str, str]] = {}
        for lang, labels in values.items():
            for label, surfaces in labels.items():
                words = {normalise(word): value for value, known in surfaces.items() for word in (*known, value)}
                self._words[lang, label] = words
                merged = self._words.setdefault(("", label), {})
                for word, value in words.items():
                    merged.setdefault(word, value)
        self.find = lru_cache(maxsize=10_000)(self._find)

    @classmethod
    def load(cls, path: Path) -> SlotLexicon:
        """Read `slot_values.json`.

        Raises:
            UnimrError: it is missing or damaged.
        """
        return cls(read_json(path))

    def has(self, label: str) -> bool:
        """Whether the catalogue has values for a slot: a photograph has no year, whatever time a query speaks of."""
        return bool(self._words.get(("", label)))

    def _find(self, label: str, surface: str, lang: str | None) -> str | None:
        """The value that words stand for: exactly, in the language first, then the closest over the floor."""
        wanted = normalise(surface)
        tables = [self._words.get((lang or "", label), {}), self._words.get(("", label), {})]
        for table in tables:
            if wanted in table:
                return table[wanted]
        for table in tables:
            close = difflib.get_close_matches(wanted, table, n=1, cutoff=SIMILARITY_FLOOR)
            if close:
                return table[close[0]]
        return None


def read_slots(slots: Sequence[PredictedSlot], lexicon: SlotLexicon, lang: str | None) -> SlotReading:
    """Turn slots into typed filters and a number of results; what cannot be read is named, never guessed."""
    filters: list[Filter] = []
    values: dict[str, str] = {}
    unread, count = [], None
    for slot in slots:
        if slot.label != "count" and not lexicon.has(slot.label):
            continue
        found: list[Filter] = []
        if slot.label in FILTER_SLOTS:
            value = lexicon.find(slot.label, slot.text, lang)
            found = [Filter(slot.label, "==", value)] if value else []
        elif slot.label == "time":
            found = years(slot.text) or years(lexicon.find("time", slot.text, lang) or "")
        elif slot.label == "count":
            count = read_count(slot.text, lexicon, lang)
            values |= {slot.text: str(count)} if count else {}
        if found:
            filters += found
            values[slot.text] = ", ".join(str(each.value) for each in found)
        elif slot.label in (*FILTER_SLOTS, "time", "count") and slot.text not in values:
            unread.append(slot.text)
    return SlotReading(filters, count, unread, values)


def years(text: str) -> list[Filter]:
    """Filters of a phrase with years: one year means that year, two mean from the one to the other."""
    found = sorted({int(match) for match in _YEAR.findall(text)})
    if len(found) == 1:
        return [Filter("year", "==", found[0])]
    if found:
        return [Filter("year", ">=", found[0]), Filter("year", "<=", found[-1])]
    return []


def read_count(text: str, lexicon: SlotLexicon, lang: str | None) -> int | None:
    """The number of results a phrase asks for, bounded; None where it names no number."""
    found = _NUMBER.search(text)
    value = found.group(0) if found else lexicon.find("count", text, lang)
    return min(max(int(value), 1), MAX_RESULTS) if value and value.isdecimal() else None


def parse_filter(text: str, values: Mapping[str, Sequence[str]]) -> Filter:
    """Parse `style=openmoji`, `year>=2019`, `category!=Flags`; `values` are the known ones of every word field.

    Raises:
        UnimrError: the field, the operator or the value is unknown; the message lists those allowed.
    """
    match = _EXPRESSION.fullmatch(text[: MAX_FILTER_CHARACTERS + 1])
    if match is None or len(text) > MAX_FILTER_CHARACTERS:
        raise UnimrError(
            f"The filter {text[:60]!r} is not of the form field=value, as style=openmoji or year>=2019. "
            f"Fields: {', '.join(FILTER_FIELDS)}. Operators: = != for words, = != >= <= > < for numbers."
        )
    name, op, value = match.group(1), match.group(2).replace("==", "=").replace("=", "=="), match.group(3)
    op = {">==": ">=", "<==": "<=", "!==": "!="}.get(op, op)
    if name in NUMBER_FIELDS:
        if not value.isdecimal() or len(value) > 4:
            raise UnimrError(f"The filter {text[:60]!r}: {name} takes a year such as 2019.")
        return Filter(name, op, int(value))
    return Filter(name, op, known_value(name, value, values))


def known_value(name: str, value: str, values: Mapping[str, Sequence[str]]) -> str:
    """The value of a word field that is meant; of a field that has no list of them, the value itself.

    Raises:
        UnimrError: the field has no such value; the message lists those it has.
    """
    if name not in values:
        return value
    known = {normalise(each): each for each in values[name]}
    if normalise(value) not in known:
        close = difflib.get_close_matches(normalise(value), known, n=1, cutoff=0.6)
        hint = f" Did you mean {known[close[0]]!r}?" if close else ""
        shown = ", ".join(list(known.values())[:20])
        raise UnimrError(f"The filter {f'{name}={value}'[:60]!r}: {name} has no value {value!r}.{hint} Known: {shown}.")
    return known[normalise(value)]
