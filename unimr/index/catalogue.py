"""What a published version knows about its items besides vectors: names, descriptions, attributes, pictures.

`items.json` and `pictures.arrow`. The pictures are memory-mapped: nothing is read until one is shown, and a version
that is removed while a process has it open stays readable to that process.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from unimr.data.tables import item_attributes, read_table
from unimr.errors import UnimrError
from unimr.files import read_json, write_json
from unimr.index.schema import FILTER_FIELDS, NUMBER_FIELDS, Filter, group_filters, satisfies

ITEMS, PICTURES = "items.json", "pictures.arrow"
SHOWN_COLUMNS = ["image_id", "item_id", "style", "image"]


def write_catalogue(tables: Path, folder: Path) -> None:
    """Write the catalogue of the tables in `tables` into `folder`.

    Raises:
        UnimrError: a table is missing.
    """
    texts = read_table(tables, "texts", ["item_id", "lang", "role", "text"])
    images = read_table(tables, "images", [*SHOWN_COLUMNS, "attributes"])
    of_item = item_attributes(images)
    items: dict[str, dict[str, Any]] = {
        item: {"names": {}, "descriptions": {}, "attributes": _typed(of_item.get(item, {}))}
        for item in sorted({*texts["item_id"], *images["item_id"]})
    }
    for role, key in (("name", "names"), ("description", "descriptions")):
        rows = texts[texts["role"] == role]
        for item, lang, text in zip(rows["item_id"], rows["lang"], rows["text"], strict=True):
            items[item][key][lang] = text
    write_json(folder / ITEMS, {"items": items, "languages": sorted(texts["lang"].unique())})
    table = pa.table({column: images[column].tolist() for column in SHOWN_COLUMNS})
    with pa.OSFile(str(folder / PICTURES), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


@dataclass(frozen=True)
class ShownPicture:
    """A picture that is not in the catalogue's file."""

    image_id: str
    item_id: str
    style: str
    data: bytes


class Catalogue:
    """An opened catalogue.

    Raises:
        UnimrError: a file is missing or damaged.
    """

    def __init__(self, folder: Path) -> None:
        content = read_json(folder / ITEMS)
        self.items: dict[str, dict[str, Any]] = content["items"]
        self.languages: list[str] = content["languages"]
        try:
            self._table = pa.ipc.open_file(pa.memory_map(str(folder / PICTURES))).read_all()
        except (OSError, pa.ArrowException) as error:
            raise UnimrError(f"The pictures {folder / PICTURES} cannot be read ({error}). Run `dvc repro`.") from error
        image_ids, styles, owners = (self._table[name].to_pylist() for name in ("image_id", "style", "item_id"))
        self._row = {image: row for row, image in enumerate(image_ids)}
        self._own_pictures: dict[str, bytes] = {}
        self._fill(image_ids, styles, owners)

    def _fill(self, image_ids: list[str], styles: list[str], owners: list[str]) -> None:
        """Derive everything that is looked up from the items and their pictures."""
        self.item_ids = sorted(self.items)
        self._style = dict(zip(image_ids, styles, strict=True))
        self._images: dict[str, list[str]] = defaultdict(list)
        for image, item in zip(image_ids, owners, strict=True):
            self._images[item].append(image)
        self.number = {item: number for number, item in enumerate(self.item_ids)}
        self._owner = dict(zip(image_ids, owners, strict=True))
        self._item_of_image = np.array([self.number[item] for item in owners], np.int64)
        self._columns = {"style": _coded(styles)} | {
            field: _coded([self.items[item]["attributes"].get(field) for item in self.item_ids])
            for field in FILTER_FIELDS
            if field not in ("style", "lang")
        }

    def changed(
        self, hidden: Collection[str], items: Mapping[str, dict[str, Any]], pictures: Sequence[ShownPicture]
    ) -> Catalogue:
        """The catalogue without the items in `hidden`, and with others and their pictures."""
        other = copy(self)
        other.items = {name: item for name, item in self.items.items() if name not in hidden} | dict(items)
        kept = [image for image, owner in self._owner.items() if owner not in hidden]
        other._own_pictures = {each.image_id: each.data for each in pictures}
        other._fill(
            [*kept, *other._own_pictures],
            [*(self._style[image] for image in kept), *(each.style for each in pictures)],
            [*(self._owner[image] for image in kept), *(each.item_id for each in pictures)],
        )
        return other

    def picture(self, image_id: str) -> bytes:
        """Encoded bytes of a picture.

        Raises:
            UnimrError: there is no such picture.
        """
        if image_id in self._own_pictures:
            return self._own_pictures[image_id]
        if image_id not in self._owner:
            raise UnimrError(f"There is no picture {image_id!r} in the index.")
        data: bytes = self._table["image"][self._row[image_id]].as_py()
        return data

    def has_picture(self, image_id: str) -> bool:
        """Whether there is such a picture."""
        return image_id in self._owner

    def item_of(self, image_id: str) -> str:
        """The item that a picture shows."""
        return self._owner[image_id]

    def style(self, image_id: str) -> str:
        """Style of a picture."""
        style: str = self._style[image_id]
        return style

    def images_of(self, item_id: str, filters: Iterable[Filter] = ()) -> list[str]:
        """Pictures of an item whose style satisfies the filters."""
        on_style = [each for each in filters if each.field == "style"]
        return [image for image in self._images[item_id] if satisfies({"style": self._style[image]}, on_style)]

    def title(self, item_id: str, lang: str) -> str:
        """Name of an item in a language, in English where it has none, else its id."""
        names: dict[str, str] = self.items[item_id]["names"]
        return names.get(lang) or names.get("en") or next(iter(names.values()), item_id)

    def description(self, item_id: str, lang: str) -> str | None:
        """Description of an item in a language, in English where it has none."""
        texts: dict[str, str] = self.items[item_id]["descriptions"]
        return texts.get(lang) or texts.get("en")

    def base(self, item_id: str) -> str:
        """The item that this one is a variant of; itself where it is none."""
        return str(self.items[item_id]["attributes"].get("base", item_id))

    def matching(self, filters: Sequence[Filter]) -> np.ndarray:
        """Mask over `item_ids`: which of them satisfy the filters (on style: have a picture that does).

        A filter on `lang` is about texts and says nothing here.
        """
        mask = np.ones(len(self.item_ids), bool)
        for group in group_filters(each for each in filters if each.field != "lang"):
            values, codes = self._columns[group[0].field]
            passes = np.array([any(each.holds(value) for each in group) for value in values], bool)[codes]
            if group[0].field == "style":
                passes = np.bincount(self._item_of_image[passes], minlength=len(mask)) > 0
            mask &= passes
        return mask

    def values(self) -> dict[str, list[str]]:
        """Every value that a word field can be filtered by."""
        known: dict[str, set[str]] = {field: set() for field in FILTER_FIELDS if field not in NUMBER_FIELDS}
        for item in self.items.values():
            for field in known.keys() & item["attributes"].keys():
                known[field].add(item["attributes"][field])
        known["style"], known["lang"] = set(self._style.values()), set(self.languages)
        return {field: sorted(values) for field, values in known.items()}


def _coded(column: list[Any]) -> tuple[list[Any], np.ndarray]:
    """A column as its distinct values and, a row, the number of its value."""
    number = {value: code for code, value in enumerate(dict.fromkeys(column))}
    return list(number), np.array([number[value] for value in column], np.int64)


def _typed(attributes: dict[str, str]) -> dict[str, str | int]:
    return {
        name: int(value) if name in NUMBER_FIELDS else value
        for name, value in attributes.items()
        if name not in NUMBER_FIELDS or value.isdecimal()
    }
