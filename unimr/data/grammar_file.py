"""The grammar of intent-rich queries: one YAML file a language, read strictly and split.

A file holds lists of *productions* (openings, frames, tails, carrier phrases of modifiers, ...) and
the *values* of the slots. A production is a template: literal text with fields, which are
slots (``{subject}``), the modifiers' place (``{mods}``), another item's name (``{distractor}``) or
one of the file's own ``parts`` (``{show}``). Every list is divided by a hash into productions of
train and of test, so that an utterance of test is phrased in ways that training never saw; the
values of slots belong to both. ``unimr.data.grammar`` composes the sentences.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

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
Token = tuple[str, str]  # ("text" | "field", the literal text | the field's name)

_PLAIN_LISTS = ("openings", "politeness", "fillers", "tails")
_DISTRACTOR_LISTS = ("distractor_tails", "distractor_leads")
_MODIFIERS = ("skin_tone", "gender", "style", "time")
_KEYS = {"lang", "spaces", *_PLAIN_LISTS, *_DISTRACTOR_LISTS, "modifiers", "parts", "frames", "short", "values"}
_OPTIONAL_KEYS = {"digits"}
_SHORT_INTENTS = ("find_image", "find_text", "filter_set", "find_similar")
_FILTERS = {"category", "style", "time", "skin_tone", "gender", "mods"}
_FIELDS = {
    "find_image": {"subject", "style", "mods"},
    "find_text": {"subject", "style", "mods"},
    "find_similar": {"subject", "style", "mods"},
    "filter_set": _FILTERS | {"count"},
    "out_of_scope": {"distractor"},
}
_SMALLEST_LIST = 3
_SMALLEST_IN_TEST = 3
_TEST_SHARE = 0.2
_FIELD = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Production:
    """One entry of a list: its text in the file, and the same cut into literals and fields."""

    text: str
    tokens: tuple[Token, ...]

    @property
    def fields(self) -> frozenset[str]:
        """The names of the fields."""
        return frozenset(name for kind, name in self.tokens if kind == "field")

    @property
    def wording(self) -> str:
        """Its words and fields without case, spaces, punctuation and modifiers: what is held out."""
        return "".join(
            _letters(value) if kind == "text" else f"{{{value}}}" for kind, value in self.tokens if value != "mods"
        )

    @property
    def bare(self) -> bool:
        """Whether it has no words beside slots (``{subject} {mods}``), so that nothing can be held out."""
        words = "".join(value for kind, value in self.tokens if kind == "text")
        return self.fields <= {*SLOTS, "mods"} and not _letters(words)


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
        """Returns the productions of one split: about a fifth of every list is test's, the rest train's.

        The lists of ``parts`` (verbs and nouns such as "show me", "a picture of") are the vocabulary that
        productions are made of, not productions: both splits use them, as people ask in new ways with known words.

        Wordings are ordered by a hash of (``split_seed``, language, list, wording) and the first
        fifth is held out, so every list of six or more has at least three entries in test. Entries
        that differ in quotes or modifiers only are one wording and stay together; bare entries,
        which have no wording, are always train's.
        """
        return {
            name: entries if name.startswith("parts.") else self._split_list(name, entries, split, split_seed)
            for name, entries in self.lists.items()
        }

    def _split_list(
        self, name: str, entries: tuple[Production, ...], split: Split, split_seed: int
    ) -> tuple[Production, ...]:
        wordings = [entry.wording for entry in entries if not entry.bare]
        smallest = _SMALLEST_IN_TEST if len(wordings) >= 2 * _SMALLEST_IN_TEST else 1
        size = max(round(len(wordings) * _TEST_SHARE), smallest)
        held_out: set[str] = set()
        held_out_entries = 0
        for wording in sorted(set(wordings), key=lambda wording: _digest(split_seed, self.lang, name, wording)):
            if held_out_entries >= size:
                break
            held_out.add(wording)
            held_out_entries += wordings.count(wording)
        return tuple(entry for entry in entries if (entry.wording in held_out) == (split == "test"))


def _letters(text: str) -> str:
    """The letters, marks and digits of a text, without case."""
    return "".join(c for c in text.casefold() if unicodedata.category(c)[0] in "LMN")


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
            list, an unknown field, or a value that two canonical values share. The message
            names the file and the key.

    """
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)  # a tenth of the time of `safe_load`
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UnimrError(f"The grammar {path} cannot be read: {error}") from error
    return _Reader(path).grammar(raw)


class _Reader:
    """Checks one file's content; every complaint names the file and the key."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fail(self, key: str, problem: str) -> UnimrError:
        return UnimrError(f"The grammar {self.path} is wrong at '{key}': {problem}")

    def grammar(self, raw: object) -> Grammar:
        top = self.keyed("(top)", raw, _KEYS, _OPTIONAL_KEYS)
        spaces = top["spaces"]
        if not isinstance(spaces, bool):
            raise self.fail("spaces", "true or false is expected")
        if top["lang"] != self.path.stem:
            raise self.fail("lang", f"'{top['lang']}' does not match the file's name")
        return Grammar(self.path.stem, spaces, self.lists(top), self.values(top["values"], top.get("digits")))

    def mapping(self, key: str, raw: object) -> dict[str, object]:
        if not isinstance(raw, dict):
            raise self.fail(key, "a mapping is expected")
        return {str(name): value for name, value in raw.items()}

    def keyed(self, key: str, raw: object, required: set[str], optional: set[str] | None = None) -> dict[str, object]:
        """The mapping, if it has the required keys and no others than the optional ones."""
        mapping = self.mapping(key, raw)
        missing, unknown = required - mapping.keys(), mapping.keys() - required - (optional or set())
        for wrong, word in ((missing, "missing"), (unknown, "unknown")):
            if wrong:
                raise self.fail(key, f"{word} key {', '.join(sorted(wrong))}")
        return mapping

    def lists(self, raw: dict[str, object]) -> dict[str, tuple[Production, ...]]:
        parts = self.mapping("parts", raw["parts"])
        modifiers = self.keyed("modifiers", raw["modifiers"], set(_MODIFIERS))
        frames = self.keyed("frames", raw["frames"], set(INTENTS))
        short = self.keyed("short", raw["short"], set(_SHORT_INTENTS))
        lists = {name: self.entries(name, raw[name], set()) for name in _PLAIN_LISTS}
        for name in _DISTRACTOR_LISTS:
            lists[name] = self.entries(name, raw[name], {"distractor"}, needs={"distractor"})
        for label in _MODIFIERS:
            lists[f"modifiers.{label}"] = self.entries(f"modifiers.{label}", modifiers[label], {label}, needs={label})
        for part, entries in parts.items():
            lists[f"parts.{part}"] = self.entries(f"parts.{part}", entries, {"distractor"})
        for group, of_group in (("frames", frames), ("short", short)):
            for intent, entries in of_group.items():
                name = f"{group}.{intent}"
                lists[name] = self.entries(name, entries, _FIELDS[intent] | parts.keys(), needs=self.needs(intent))
        self.parts_are_used(set(parts), lists)
        return lists

    @staticmethod
    def needs(intent: str) -> set[str]:
        """One of these fields has to occur in a frame of the intent (none: an empty set)."""
        if intent == "filter_set":
            return _FILTERS
        return {"subject"} if intent != "out_of_scope" else set()

    def entries(
        self, key: str, raw: object, fields: set[str], needs: set[str] | frozenset[str] = frozenset()
    ) -> tuple[Production, ...]:
        entries = tuple(_production(text) for text in self.strings(key, raw))
        if len(entries) < _SMALLEST_LIST:
            raise self.fail(key, f"at least {_SMALLEST_LIST} entries are needed, so that each split has some")
        for entry in entries:
            if unknown := entry.fields - fields:
                raise self.fail(key, f"field {', '.join(sorted(unknown))} cannot stand in '{entry.text}'")
            if needs and not entry.fields & needs:
                raise self.fail(key, f"'{entry.text}' needs a field of {', '.join(sorted(needs))}")
        return entries

    def strings(self, key: str, raw: object) -> list[str]:
        if not isinstance(raw, list) or not raw:
            raise self.fail(key, "a list with entries is expected, it is empty or no list")
        texts: list[str] = []
        for text in raw:
            if not isinstance(text, str) or not text.strip():
                raise self.fail(key, f"{text!r} is no text; put it in quotes")
            if text in texts:
                raise self.fail(key, f"'{text}' occurs twice")
            texts.append(text)
        return texts

    def parts_are_used(self, parts: set[str], lists: Mapping[str, tuple[Production, ...]]) -> None:
        used = {field for entries in lists.values() for entry in entries for field in entry.fields}
        if unused := sorted(parts - used):
            raise self.fail(f"parts.{unused[0]}", "no frame uses it")

    def values(self, raw: object, digits: object) -> dict[str, dict[str, tuple[str, ...]]]:
        labels = self.keyed("values", raw, {*CANONICAL, "count"})
        if digits is not None and not (isinstance(digits, str) and len(digits) == 10):
            raise self.fail("digits", "a text of the ten digits from zero is expected")
        values: dict[str, dict[str, tuple[str, ...]]] = {}
        for label, canonical in CANONICAL.items():
            surfaces = self.keyed(f"values.{label}", labels[label], set(canonical))
            values[label] = {
                value: tuple(self.strings(f"values.{label}.{value}", surfaces[value])) for value in canonical
            }
        words = self.keyed("values.count", labels["count"], set(), {str(number) for number in COUNTS})
        spoken = {number: tuple(self.strings(f"values.count.{number}", entries)) for number, entries in words.items()}
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


def _numerals(number: int, digits: object) -> tuple[str, ...]:
    """The number in European digits and, where the language has its own, in those."""
    european = str(number)
    return (european,) if not isinstance(digits, str) else (european, "".join(digits[int(d)] for d in european))


def _production(text: str) -> Production:
    pieces = _FIELD.split(text)
    tokens = tuple(("field" if position % 2 else "text", piece) for position, piece in enumerate(pieces) if piece)
    return Production(text, tokens)
