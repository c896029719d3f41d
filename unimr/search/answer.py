"""What a search returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class SlotShown:
    """A slot of the query: its words, its label, and the value they were read as (None: not read)."""

    label: str
    text: str
    value: str | None


@dataclass(frozen=True)
class Hit:
    """One result. `score` is the fused rank score, comparable within one answer only."""

    item_id: str
    score: float
    kind: Literal["image", "text"]
    title: str
    english: str
    text: str | None
    image_id: str | None
    style: str | None
    picture: bytes | None = field(repr=False)


@dataclass(frozen=True)
class SearchAnswer:
    """Results of a search with what was understood and how it was answered.

    `similarity` is the cosine of the nearest row, `margin` how far it lies above that of the next item; None where
    nothing was searched by vector.
    """

    query: str | None
    lang: str
    intent: str
    confidence: float
    slots: list[SlotShown]
    filters: list[str]
    notes: list[str]
    hits: list[Hit]
    similarity: float | None
    margin: float | None
    model_version: str
    index_version: str
    milliseconds: float

    def to_json(self) -> dict[str, Any]:
        """The answer as plain JSON values, without the bytes of pictures."""
        values = {name: value for name, value in vars(self).items() if name not in ("slots", "hits")}
        values["slots"] = [vars(slot) for slot in self.slots]
        values["hits"] = [{name: value for name, value in vars(hit).items() if name != "picture"} for hit in self.hits]
        return values
