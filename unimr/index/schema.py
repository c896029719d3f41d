"""Collections of the index, the fields that may be filtered on, and the typed filter."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from unimr.errors import UnimrError

STRING_FIELDS = ("style", "category", "subcategory", "skin_tone", "gender", "lang")
NUMBER_FIELDS = ("year",)
FILTER_FIELDS = (*STRING_FIELDS, *NUMBER_FIELDS)
STRING_OPERATORS = ("==", "!=")
NUMBER_OPERATORS = ("==", "!=", ">=", "<=", ">", "<")
UNKNOWN_NUMBER = -1
"""Stored where an item has no year. No filter matches it."""

_ITEM_FIELDS = ("item_id", "category", "subcategory", "skin_tone", "gender", "base")


@dataclass(frozen=True)
class CollectionSpec:
    """A collection: its key and its string fields; every collection also has `year` and `vector`."""

    name: str
    key: str
    strings: tuple[str, ...]

    @property
    def fields(self) -> tuple[str, ...]:
        """All fields but the vector, the key first."""
        return (self.key, *self.strings, *NUMBER_FIELDS)


IMAGES = CollectionSpec("images", "image_id", ("style", *_ITEM_FIELDS))
TEXTS = CollectionSpec("texts", "text_id", ("lang", "kind", "text", *_ITEM_FIELDS))
COLLECTIONS = (IMAGES, TEXTS)


@dataclass(frozen=True)
class Filter:
    """`field op value` on an allow-listed field. Several `==` on one field mean: one of these values.

    Raises:
        UnimrError: the field or the operator is not allowed, or the value has the wrong type.
    """

    field: str
    op: str
    value: str | int

    def __post_init__(self) -> None:
        if self.field not in FILTER_FIELDS:
            raise UnimrError(f"There is no filter field {self.field!r}. Known fields: {', '.join(FILTER_FIELDS)}.")
        allowed = NUMBER_OPERATORS if self.field in NUMBER_FIELDS else STRING_OPERATORS
        if self.op not in allowed:
            raise UnimrError(f"{self.field} cannot be compared with {self.op!r}. Known: {' '.join(allowed)}.")
        wanted = int if self.field in NUMBER_FIELDS else str
        if type(self.value) is not wanted:
            raise UnimrError(f"{self.field} takes a {'number' if wanted is int else 'word'}, not {self.value!r}.")

    def __str__(self) -> str:
        return f"{self.field} {self.op} {self.value}"

    def holds(self, value: str | int | None) -> bool:
        """Whether a stored value satisfies this filter; a missing one satisfies `!=` on words alone."""
        if self.field in STRING_FIELDS:
            return (value == self.value) == (self.op == "==")
        if not isinstance(value, int) or not isinstance(self.value, int) or value == UNKNOWN_NUMBER:
            return False
        return {
            "==": value == self.value,
            "!=": value != self.value,
            ">=": value >= self.value,
            "<=": value <= self.value,
            ">": value > self.value,
            "<": value < self.value,
        }[self.op]


def group_filters(filters: Iterable[Filter]) -> list[list[Filter]]:
    """Groups of which one filter must hold: the `==` of one field together, every other one alone."""
    equal: dict[str, list[Filter]] = defaultdict(list)
    others = []
    for item in dict.fromkeys(filters):
        if item.op == "==":
            equal[item.field].append(item)
        else:
            others.append([item])
    return [*equal.values(), *others]


def satisfies(attributes: Mapping[str, str | int], filters: Iterable[Filter]) -> bool:
    """Whether attributes satisfy all filters, by the same rules as the index."""
    return all(any(one.holds(attributes.get(one.field)) for one in group) for group in group_filters(filters))
