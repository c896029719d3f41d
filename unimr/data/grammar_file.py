"""The grammar of intent-rich queries: one YAML file a language, read strictly and split.

A file holds lists of *productions* (openings, frames, tails, carrier phrases of modifiers, ...) and
the *values* of the slots. A production is a template: literal text with placeholders, which are
slots (``{subject}``), the modifiers' place (``{mods}``), another item's name (``{distractor}``) or
one of the file's own ``parts`` (``{show}``). Every list is divided by a hash into productions of
train and of test, so that an utterance of test is phrased in ways that training never saw; the
values of slots belong to both. ``unimr.data.grammar`` composes the sentences.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from unimr.errors import UnimrError

INTENTS: tuple[str, ...] = ("find_image", "find_text", "filter_set", "find_similar", "out_of_scope")
SLOTS: tuple[str, ...] = ("subject", "skin_tone", "gender", "style", "category", "time", "count")
YEARS = range(2010, 2025)
COUNTS = range(2, 21)
PEOPLE = "People & Body"
CANONICAL: dict[str, tuple[str, ...]] = {
    "skin_tone": ("light", "medium-light", "medium", "medium-dark", "dark"),
    "gender": ("woman", "man"),
    "style": ("google", "twitter", "openmoji"),
    "category": (
        "Smileys & Emotion",
        PEOPLE,
        "Animals & Nature",
        "Food & Drink",
        "Travel & Places",
        "Activities",
        "Objects",
        "Symbols",
        "Flags",
    ),
}

Split = Literal["train", "test"]
Token = tuple[str, str]  # ("text" | "hole", the literal text | the placeholder's name)

_PLAIN_LISTS = ("openings", "politeness", "fillers", "tails")
_DISTRACTOR_LISTS = ("distractor_tails", "distractor_leads")
_MODIFIERS = ("skin_tone", "gender", "style", "time")
_KEYS = {"lang", "spaces", *_PLAIN_LISTS, *_DISTRACTOR_LISTS, "modifiers", "parts", "frames", "short", "values"}
_OPTIONAL_KEYS = {"digits"}
_SHORT_INTENTS = ("find_image", "find_text", "filter_set", "find_similar")
_FILTERS = {"category", "style", "time", "skin_tone", "gender", "mods"}
_HOLES = {
    "find_image": {"subject", "style", "mods"},
    "find_text": {"subject", "style", "mods"},
    "find_similar": {"subject", "style", "mods"},
    "filter_set": _FILTERS | {"count"},
    "out_of_scope": {"distractor"},
}
_SMALLEST_LIST = 3
_SMALLEST_IN_TEST = 3
_HOLE = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Production:
    """One entry of a list: its text in the file, and the same cut into literals and placeholders."""

    text: str
    tokens: tuple[Token, ...]

    @property
    def holes(self) -> frozenset[str]:
        """The names of the placeholders."""
        return frozenset(name for kind, name in self.tokens if kind == "hole")

    @property
    def bare(self) -> bool:
        """Whether it has no words beside slots (``{subject} {mods}``), so that nothing can be held out."""
        return self.holes <= {*SLOTS, "mods"} and not any(
            kind == "text" and any(c.isalnum() for c in text) for kind, text in self.tokens
        )


@dataclass(frozen=True)
class Grammar:
    """The grammar of one language, as read from its file.

    ``lists`` maps a list's name (``openings``, ``frames.find_image``, ``parts.show``, ...) to its
    productions. ``values`` maps a slot's label to canonical values to their surfaces; the first
    surface is the usual one. ``spaces`` is false for scripts without spaces between words.
    """

    lang: str
    spaces: bool
    lists: Mapping[str, tuple[Production, ...]]
    values: Mapping[str, Mapping[str, tuple[str, ...]]]

    def split(self, split: Split, split_seed: int) -> dict[str, tuple[Production, ...]]:
        """Returns the productions of one split: about a third of every list is test's, the rest train's.

        Entries are ordered by a hash of (``split_seed``, language, list, entry) and the first third
        is held out, so every list of six or more has at least three in test. Bare entries, which
        have no phrasing to hold out, are always train's.
        """
        return {name: self._split_list(name, entries, split, split_seed) for name, entries in self.lists.items()}

    def _split_list(
        self, name: str, entries: tuple[Production, ...], split: Split, split_seed: int
    ) -> tuple[Production, ...]:
        ranked = sorted(
            (entry for entry in entries if not entry.bare),
            key=lambda entry: _digest(split_seed, self.lang, name, entry.text),
        )
        size = round(len(ranked) / 3)
        if len(ranked) >= 2 * _SMALLEST_IN_TEST:
            size = max(size, _SMALLEST_IN_TEST)
        held_out = set(ranked[: max(size, 1)])
        return tuple(entry for entry in entries if (entry in held_out) == (split == "test"))


def _digest(*parts: object) -> str:
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()


def slot_values(grammar: Grammar) -> dict[str, dict[str, list[str]]]:
    """Returns slot label -> canonical value -> surfaces, for turning a slot's text into a typed filter.

    Covers ``skin_tone``, ``gender``, ``style``, ``category``, ``time`` (years) and ``count``.
    Compare without regard to case: utterances may be written in lower case.
    """
    return {
        label: {value: list(surfaces) for value, surfaces in of_label.items()}
        for label, of_label in grammar.values.items()
    }


def load_grammar(path: Path) -> Grammar:
    """Reads a language's grammar file.

    Raises:
        UnimrError: the file cannot be read, has a missing or unknown key, an empty or repeating
            list, an unknown placeholder, or a value that two canonical values share. The message
            names the file and the key.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UnimrError(f"The grammar {path} cannot be read: {error}") from error
    return _Reader(path).grammar(raw)


class _Reader:
    """Checks one file's content; every complaint names the file and the key."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fail(self, key: str, problem: str) -> UnimrError:
        return UnimrError(f"The grammar {self.path} is wrong at '{key}': {problem}")

    def grammar(self, raw: Any) -> Grammar:
        self.keys("(top)", raw, _KEYS, _OPTIONAL_KEYS)
        if not isinstance(raw["spaces"], bool):
            raise self.fail("spaces", "true or false is expected")
        if raw["lang"] != self.path.stem:
            raise self.fail("lang", f"'{raw['lang']}' does not match the file's name")
        values = self.values(raw["values"], raw.get("digits"))
        return Grammar(raw["lang"], raw["spaces"], self.lists(raw), values)

    def keys(self, key: str, raw: Any, required: set[str], optional: set[str] | frozenset[str] = frozenset()) -> None:
        if not isinstance(raw, dict):
            raise self.fail(key, "a mapping is expected")
        present = {str(name) for name in raw}
        for wrong, word in ((required - present, "missing"), (present - required - optional, "unknown")):
            if wrong:
                raise self.fail(key, f"{word} key {', '.join(sorted(wrong))}")

    def lists(self, raw: dict[str, Any]) -> dict[str, tuple[Production, ...]]:
        if not isinstance(raw["parts"], dict):
            raise self.fail("parts", "a mapping is expected")
        self.keys("modifiers", raw["modifiers"], set(_MODIFIERS))
        self.keys("frames", raw["frames"], set(INTENTS))
        self.keys("short", raw["short"], set(_SHORT_INTENTS))
        parts = set(raw["parts"])
        lists = {name: self.entries(name, raw[name], set()) for name in _PLAIN_LISTS}
        for name in _DISTRACTOR_LISTS:
            lists[name] = self.entries(name, raw[name], {"distractor"}, needs={"distractor"})
        for label in _MODIFIERS:
            lists[f"modifiers.{label}"] = self.entries(
                f"modifiers.{label}", raw["modifiers"][label], {label}, needs={label}
            )
        for part, entries in raw["parts"].items():
            lists[f"parts.{part}"] = self.entries(f"parts.{part}", entries, {"distractor"})
        for group in ("frames", "short"):
            for intent, entries in raw[group].items():
                name = f"{group}.{intent}"
                lists[name] = self.entries(name, entries, _HOLES[intent] | parts, needs=self.needs(intent))
        self.parts_are_used(parts, lists)
        return lists

    @staticmethod
    def needs(intent: str) -> set[str]:
        """One of these placeholders has to occur in a frame of the intent (none: an empty set)."""
        if intent == "filter_set":
            return _FILTERS
        return {"subject"} if intent != "out_of_scope" else set()

    def entries(
        self, key: str, raw: Any, holes: set[str], needs: set[str] | frozenset[str] = frozenset()
    ) -> tuple[Production, ...]:
        entries = tuple(_production(text) for text in self.strings(key, raw))
        if len(entries) < _SMALLEST_LIST:
            raise self.fail(key, f"at least {_SMALLEST_LIST} entries are needed, so that each split has some")
        for entry in entries:
            if unknown := entry.holes - holes:
                raise self.fail(key, f"placeholder {', '.join(sorted(unknown))} cannot stand in '{entry.text}'")
            if needs and not entry.holes & needs:
                raise self.fail(key, f"'{entry.text}' needs a placeholder of {', '.join(sorted(needs))}")
        return entries

    def strings(self, key: str, raw: Any) -> list[str]:
        if not isinstance(raw, list) or not raw:
            raise self.fail(key, "a list with entries is expected, it is empty or no list")
        for text in raw:
            if not isinstance(text, str) or not text.strip():
                raise self.fail(key, f"{text!r} is no text; put it in quotes")
        if twice := sorted({text for text in raw if raw.count(text) > 1}):
            raise self.fail(key, f"'{twice[0]}' occurs twice")
        return raw

    def parts_are_used(self, parts: set[str], lists: Mapping[str, tuple[Production, ...]]) -> None:
        used = {hole for entries in lists.values() for entry in entries for hole in entry.holes}
        if unused := sorted(parts - used):
            raise self.fail(f"parts.{unused[0]}", "no frame uses it")

    def values(self, raw: Any, digits: Any) -> dict[str, dict[str, tuple[str, ...]]]:
        self.keys("values", raw, {*CANONICAL, "count"})
        if digits is not None and (not isinstance(digits, str) or len(digits) != 10):
            raise self.fail("digits", "a text of the ten digits from zero is expected")
        values: dict[str, dict[str, tuple[str, ...]]] = {}
        for label, canonical in CANONICAL.items():
            self.keys(f"values.{label}", raw[label], set(canonical))
            values[label] = {
                value: tuple(self.strings(f"values.{label}.{value}", raw[label][value])) for value in canonical
            }
        words = raw["count"]
        self.keys("values.count", words, set(), {str(number) for number in COUNTS})
        spoken = {
            str(number): tuple(self.strings(f"values.count.{number}", entries)) for number, entries in words.items()
        }
        values["count"] = {str(n): (*_numerals(n, digits), *spoken.get(str(n), ())) for n in COUNTS}
        values["time"] = {str(year): _numerals(year, digits) for year in YEARS}
        self.surfaces_are_distinct(values)
        return values

    def surfaces_are_distinct(self, values: Mapping[str, Mapping[str, tuple[str, ...]]]) -> None:
        for label, of_label in values.items():
            seen: dict[str, str] = {}
            for value, surfaces in of_label.items():
                for surface in surfaces:
                    other = seen.setdefault(surface.casefold(), value)
                    if other != value:
                        raise self.fail(f"values.{label}.{value}", f"'{surface}' also means {other}")


def _numerals(number: int, digits: str | None) -> tuple[str, ...]:
    """The number in European digits and, where the language has its own, in those."""
    european = str(number)
    return (european,) if digits is None else (european, "".join(digits[int(d)] for d in european))


def _production(text: str) -> Production:
    pieces = _HOLE.split(text)
    tokens = tuple(
        ("hole" if position % 2 else "text", piece) for position, piece in enumerate(pieces) if piece
    )
    return Production(text, tokens)
