"""The lines of a user's own catalogue as strict objects: an item, or an annotated utterance (`docs/own-data.md`)."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal, Self

import regex
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from unimr.data.emoji import SKIN_TONES
from unimr.data.grammar_file import INTENTS, SLOTS
from unimr.data.text import segment

MAX_CHARACTERS = {"name": 200, "keyword": 200, "description": 2000}
KNOWN_VALUES = {"skin_tone": tuple(SKIN_TONES.values()), "gender": ("woman", "man")}
"""Attributes with a closed set of values, since queries in words are read as these."""

_CONTROL = regex.compile(r"[\p{Cc}\p{Co}\p{Cs}\uFFFD\u2028\u2029]")


def _clean(text: str) -> str:
    if not text or text != text.strip():
        raise ValueError(f"{text[:60]!r} is empty or has white space at its edge")
    if _CONTROL.search(text):
        raise ValueError(f"{text[:60]!r} has a control character in it")
    return text


def _one_of(*known: str) -> AfterValidator:
    def check(value: str) -> str:
        if value not in known:
            raise ValueError(f"{value[:60]!r} is not one of {', '.join(known)}")
        return value

    return AfterValidator(check)


def _language_tag(tag: str) -> str:
    if not regex.fullmatch(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?", tag):
        raise ValueError(f"{tag[:60]!r} is not a language tag such as en, pt-BR or zh-Hant")
    return tag


Text = Annotated[str, AfterValidator(_clean), Field(max_length=2000)]
Lang = Annotated[str, AfterValidator(_language_tag)]
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,99}$")]
AttributeName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class TextLine(_Line):
    """One text of an item."""

    lang: Lang
    role: Literal["name", "keyword", "description"]
    text: Text

    @model_validator(mode="after")
    def _is_short_enough(self) -> Self:
        if len(self.text) > MAX_CHARACTERS[self.role]:
            raise ValueError(f"a {self.role} has at most {MAX_CHARACTERS[self.role]} characters")
        return self


class PictureLine(_Line):
    """One picture of an item; `path` is relative to the file."""

    style: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]
    path: Annotated[Text, Field(max_length=1000)]


class ItemLine(_Line):
    """An item: what is searched for."""

    item_id: Id
    base_id: Id | None = None
    attributes: dict[AttributeName, Annotated[Text, Field(max_length=100)]] = {}
    texts: Annotated[list[TextLine], Field(min_length=1)]
    pictures: list[PictureLine] = []

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        counts = Counter((text.role, text.lang) for text in self.texts if text.role != "keyword")
        for (role, lang), count in counts.items():
            if count > 1:
                raise ValueError(f"{count} texts are the {role} in {lang}; make all but one a keyword")
        if "base" in self.attributes:
            raise ValueError("attributes: `base` is made of base_id and cannot be given")
        if not regex.fullmatch(r"[0-9]{4}", self.attributes.get("year", "2000")):
            raise ValueError(f"attributes.year: {self.attributes['year']!r} is not a year such as 2024")
        for name, known in KNOWN_VALUES.items():
            if self.attributes.get(name, known[0]) not in known:
                raise ValueError(f"attributes.{name}: {self.attributes[name]!r} is not one of {', '.join(known)}")
        return self


class SlotLine(_Line):
    """A labelled span of an utterance, in characters, `end` exclusive."""

    start: Annotated[int, Field(ge=0)]
    end: int
    label: Annotated[str, _one_of(*SLOTS)]


class UtteranceContent(_Line):
    """An annotated query."""

    lang: Lang
    text: Text
    intent: Annotated[str, _one_of(*INTENTS)]
    slots: list[SlotLine] = []
    item_id: Id | None = None

    @model_validator(mode="after")
    def _has_sound_spans(self) -> Self:
        words = segment(self.text)
        starts, ends = {word.start for word in words}, {word.end for word in words}
        end_before = 0
        for slot in sorted(self.slots, key=lambda slot: slot.start):
            place = f"the slot {slot.start}:{slot.end} ({slot.label})"
            if not slot.start < slot.end <= len(self.text):
                raise ValueError(f"{place} is not within the {len(self.text)} characters of the text")
            if slot.start < end_before:
                raise ValueError(f"{place} overlaps the one before it")
            if slot.start not in starts or slot.end not in ends:
                raise ValueError(f"{place} does not begin and end with a word")
            end_before = slot.end
        return self


class UtteranceLine(_Line):
    """A line that holds an utterance."""

    utterance: UtteranceContent
