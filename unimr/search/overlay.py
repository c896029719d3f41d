"""Live changes, searched together with the published index: exact, in memory.

An overlay holds the items that were added or changed since the index was built, with their vectors, and the ids of
those in the index that no longer count. It never changes; a change makes a new one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from unimr.data.live import LiveChange
from unimr.index.catalogue import ShownPicture
from unimr.index.embed import EMBEDDED_ROLES
from unimr.index.encoder import Encoder
from unimr.index.lexical import documents_of
from unimr.index.schema import COLLECTIONS, IMAGES, NUMBER_FIELDS, TEXTS, Filter, satisfies
from unimr.index.store import StoredHit


@dataclass(frozen=True)
class LiveRow:
    """A row of a collection that is not in the store."""

    key: str
    item_id: str
    attributes: dict[str, str | int]
    vector: np.ndarray


@dataclass(frozen=True)
class LiveItem:
    """An item that was added or changed: how it is shown, its pictures, its rows, its words by language."""

    shown: dict[str, Any]
    pictures: list[ShownPicture]
    rows: dict[str, list[LiveRow]]
    documents: dict[str, Counter[str]]


@dataclass(frozen=True)
class Overlay:
    """The items that are laid over the index, and the ids that hide what the index has of them."""

    items: Mapping[str, LiveItem] = field(default_factory=dict)
    hidden: frozenset[str] = frozenset()

    def with_change(self, change: LiveChange, model: Encoder) -> Overlay:
        """The overlay after a change; the model embeds what is new."""
        items = {name: item for name, item in self.items.items() if name != change.item_id}
        if change.line is not None:
            items[change.item_id] = live_item(change, model)
        return Overlay(items, self.hidden | {change.item_id})

    def only(self, changed: Collection[str]) -> Overlay:
        """The part that is about these items."""
        items = {name: item for name, item in self.items.items() if name in changed}
        return Overlay(items, self.hidden & frozenset(changed))

    def search(self, collection: str, vector: np.ndarray, filters: Sequence[Filter]) -> list[StoredHit]:
        """Every row that satisfies the filters, with its similarity."""
        rows, matrix = self._rows[collection]
        return [
            StoredHit(float(score), row.key, row.item_id)
            for row, score in zip(rows, matrix @ vector if rows else (), strict=True)
            if satisfies(row.attributes, filters)
        ]

    @cached_property
    def _rows(self) -> dict[str, tuple[list[LiveRow], np.ndarray]]:
        """Rows of each collection, and their vectors `[rows, dim]`."""
        found = {}
        for spec in COLLECTIONS:
            rows = [row for item in self.items.values() for row in item.rows[spec.name]]
            found[spec.name] = rows, np.array([row.vector for row in rows], np.float32)
        return found

    def vectors(self, images: Sequence[str]) -> dict[str, np.ndarray]:
        """Vectors of those of these pictures that are of the overlay."""
        wanted = set(images)
        rows = (row for item in self.items.values() for row in item.rows[IMAGES.name])
        return {row.key: row.vector for row in rows if row.key in wanted}


def live_item(change: LiveChange, model: Encoder) -> LiveItem:
    """An item of a change, embedded.

    Raises:
        ValueError: the change removes it.
    """
    line, item_id = change.line, change.item_id
    if line is None:
        raise ValueError(f"{item_id} is removed")
    texts: list[tuple[str, str, str]] = [(text.lang, text.role, text.text) for text in line.texts]
    texts += _descriptions(texts)
    attributes = _attributes(line.attributes) | {"base": line.base_id or item_id}
    shown = {
        "names": {lang: text for lang, role, text in texts if role == "name"},
        "descriptions": {lang: text for lang, role, text in texts if role == "description"},
        "attributes": attributes,
    }
    styles = [each.style for each in line.pictures]
    pictures = [
        ShownPicture(f"{item_id}/{style}{_suffix(styles, number)}", item_id, style, data)
        for number, (style, data) in enumerate(zip(styles, change.pictures, strict=True))
    ]
    table = pd.DataFrame([(item_id, *text) for text in texts], columns=["item_id", "lang", "role", "text"])
    documents = {lang: counts for (_, lang), counts in documents_of(table).items()}
    return LiveItem(shown, pictures, _rows(item_id, texts, pictures, attributes, model), documents)


def _rows(
    item_id: str,
    texts: Sequence[tuple[str, str, str]],
    pictures: Sequence[ShownPicture],
    attributes: dict[str, str | int],
    model: Encoder,
) -> dict[str, list[LiveRow]]:
    embedded = [text for text in texts if text[1] in EMBEDDED_ROLES]
    of_texts = model.encode_texts([text for _, _, text in embedded]) if embedded else np.zeros((0, model.dim))
    of_images = model.encode_images([each.data for each in pictures]) if pictures else np.zeros((0, model.dim))
    return {
        TEXTS.name: [
            LiveRow(f"{item_id}/{lang}/{role}", item_id, attributes | {"lang": lang}, vector)
            for (lang, role, _), vector in zip(embedded, of_texts, strict=True)
        ],
        IMAGES.name: [
            LiveRow(each.image_id, item_id, attributes | {"style": each.style}, vector)
            for each, vector in zip(pictures, of_images, strict=True)
        ],
    }


def _attributes(given: Mapping[str, str]) -> dict[str, str | int]:
    return {name: int(value) if name in NUMBER_FIELDS else value for name, value in given.items()}


def _suffix(styles: Sequence[str], number: int) -> str:
    before = styles[:number].count(styles[number])
    return f"/{before}" if before else ""


def _descriptions(texts: Sequence[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """Made of name and keywords, where a language has both and no description, as the next build will."""
    made = []
    for lang in dict.fromkeys(lang for lang, _, _ in texts):
        of_role = {role: [text for each, its, text in texts if (each, its) == (lang, role)] for _, role, _ in texts}
        if of_role.get("name") and of_role.get("keyword") and not of_role.get("description"):
            words = ", ".join(dict.fromkeys(of_role["keyword"]))
            made.append((lang, "description", f"{of_role['name'][0]}: {words}"))
    return made
