"""What every source is read into before it becomes tables: items with their texts and pictures."""

from __future__ import annotations

from dataclasses import dataclass, field

KIND_OF_ROLE = {"name": "short", "keyword": "short", "description": "long"}
"""Role of a text → the kind (short or long) that the table states."""


@dataclass(frozen=True)
class ItemText:
    """One text of an item, in one language; `role` is name, keyword or description."""

    lang: str
    role: str
    text: str


@dataclass(frozen=True)
class Picture:
    """One rendering of an item: its style and the encoded bytes (PNG, JPEG or WebP)."""

    style: str
    data: bytes


@dataclass(frozen=True)
class Item:
    """A thing that is searched for.

    `base_id` is the item it is a variant of (itself if it is none): a split is decided for the whole family.
    `attributes` hold what can be filtered on. `split` is the official one of a published set; "" where it is drawn.
    """

    item_id: str
    base_id: str
    attributes: dict[str, str] = field(default_factory=dict)
    texts: tuple[ItemText, ...] = ()
    pictures: tuple[Picture, ...] = ()
    split: str = ""
