"""The default catalogue: emoji in three renderings, named in many languages.

Pictures and metadata: emoji-datasource (Google, Twitter) and OpenMoji. Names and keywords: Unicode CLDR annotations.
An item is an emoji or one of its single skin-tone variants; its id is the lower-case code points.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from unimr.data.archive import read_members
from unimr.data.items import Item, ItemText, Picture
from unimr.errors import UnimrError

SKIN_TONES = {
    "1F3FB": "light",
    "1F3FC": "medium-light",
    "1F3FD": "medium",
    "1F3FE": "medium-dark",
    "1F3FF": "dark",
}
YEARS = {
    "0.6": 2010, "0.7": 2014, "1.0": 2015, "2.0": 2015, "3.0": 2016, "4.0": 2016, "5.0": 2017, "11.0": 2018,
    "12.0": 2019, "12.1": 2019, "13.0": 2020, "13.1": 2020, "14.0": 2021, "15.0": 2022, "15.1": 2023, "16.0": 2024,
}  # fmt: skip
"""Emoji version → the year it was released (0.6 and 0.7 are Unicode 6.0 and 7.0)."""


def read_emoji(raw: Path, languages: Sequence[str], image_size: int, base_items: int = 0) -> list[Item]:
    """Read the fetched archives into items, base emoji each followed by its skin tones.

    Args:
        raw: folder with the archives of stage `fetch`.
        languages: CLDR language tags.
        image_size: side of the drawn OpenMoji pictures, in pixels.
        base_items: how many base emoji to take, evenly spread over the catalogue; 0 for all.

    Raises:
        UnimrError: an archive is missing or lacks a language.
    """
    listed = json.loads(_members(raw, "google", ["emoji.json"])[0])
    metadata = [entry for entry in listed if entry["category"] != "Component"]
    metadata.sort(key=lambda entry: entry["sort_order"])
    if base_items:
        step = max(1, len(metadata) // base_items)
        metadata = metadata[::step][:base_items]
    entries = [entry for base in metadata for entry in _family(base)]
    annotations = _annotations(raw, languages)
    pictures = _pictures(raw, entries, image_size)
    return [_item(entry, annotations, pictures[entry["unified"]]) for entry in entries]


def _family(base: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A base emoji and its five single skin tones (mixed tones of couples are left out)."""
    yield {**base, "base": base["unified"], "tone": None}
    for tone, variant in base.get("skin_variations", {}).items():
        if tone in SKIN_TONES:
            yield {**base, **variant, "base": base["unified"], "tone": tone}


def _item(entry: dict[str, Any], annotations: dict[str, dict[str, Any]], pictures: tuple[Picture, ...]) -> Item:
    symbol = "".join(chr(int(point, 16)) for point in entry["unified"].split("-")).replace("\ufe0f", "")
    attributes = {
        "category": entry["category"],
        "subcategory": entry["subcategory"],
        "year": str(YEARS[entry["added_in"]]),
        "base": entry["base"].lower(),
    }
    if entry["tone"]:
        attributes["skin_tone"] = SKIN_TONES[entry["tone"]]
    gender = _gender(entry["unified"].split("-"))
    if gender:
        attributes["gender"] = gender
    texts = tuple(
        text for lang, found in annotations.items() for text in _texts(lang, found.get(symbol), entry["tone"])
    )
    return Item(entry["unified"].lower(), entry["base"].lower(), attributes, texts, pictures)


def _gender(points: list[str]) -> str | None:
    """Gender that the sequence itself states: ♀ or ♂, or a woman or a man alone in it."""
    women = points.count("2640") + points.count("1F469") + points.count("1F467") + points.count("1F475")
    men = points.count("2642") + points.count("1F468") + points.count("1F466") + points.count("1F474")
    if bool(women) == bool(men):
        return None
    return "woman" if women else "man"


def _texts(lang: str, annotation: dict[str, list[str]] | None, tone: str | None) -> Iterator[ItemText]:
    """Name and keywords; a skin tone's keywords are its base's and are not repeated."""
    if annotation is None:
        return
    for name in annotation.get("tts", [])[:1]:
        yield ItemText(lang, "name", name)
    if tone is None:
        for keyword in annotation.get("default", []):
            yield ItemText(lang, "keyword", keyword)


def _annotations(raw: Path, languages: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Language → emoji character → {"tts": [name], "default": keywords}, plain annotations and derived ones."""
    plain = _members(raw, "cldr", [f"annotations/{lang}/annotations.json" for lang in languages])
    derived = _members(raw, "cldr-derived", [f"annotationsDerived/{lang}/annotations.json" for lang in languages])
    return {
        lang: json.loads(one)["annotations"]["annotations"] | json.loads(other)["annotationsDerived"]["annotations"]
        for lang, one, other in zip(languages, plain, derived, strict=True)
    }


def _members(raw: Path, archive: str, names: Sequence[str]) -> list[bytes]:
    """Contents of the named files, in one pass over the archive."""
    path = raw / f"{archive}.tar"
    found = read_members(path, names)
    for name in names:
        if name not in found:
            raise UnimrError(f"{path} has no {name}. If it names a language, check prepare.languages in params.yaml.")
    return [found[name] for name in names]


def _pictures(raw: Path, entries: list[dict[str, Any]], image_size: int) -> dict[str, tuple[Picture, ...]]:
    """Code points → the three renderings."""
    codes = [entry["unified"] for entry in entries]
    renderings = {}
    for style in ("google", "twitter"):
        names = {entry["unified"]: [f"img/{style}/64/{entry['image']}"] for entry in entries}
        renderings[style] = _files(raw / f"{style}.tar", names)
    drawings = _files(raw / "openmoji.tar", {code: _drawing_names(code) for code in codes})
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        drawn = list(pool.map(lambda code: _draw(drawings[code], image_size), codes))
    renderings["openmoji"] = dict(zip(codes, drawn, strict=True))
    return {code: tuple(Picture(style, of_style[code]) for style, of_style in renderings.items()) for code in codes}


def _drawing_names(code: str) -> list[str]:
    """OpenMoji leaves the variation selector out of some names."""
    return [f"color/svg/{name}.svg" for name in (code, code.replace("-FE0F", ""))]


def _draw(svg: bytes, size: int) -> bytes:
    """An SVG as PNG, `size` pixels a side."""
    import resvg_py

    return bytes(resvg_py.svg_to_bytes(svg_string=svg.decode(), width=size, height=size))


def _files(path: Path, names: dict[str, list[str]]) -> dict[str, bytes]:
    """Key → content of the first of its names that the archive has."""
    members = read_members(path, [name for of_key in names.values() for name in of_key])
    found = {}
    for key, of_key in names.items():
        present = [name for name in of_key if name in members]
        if not present:
            raise UnimrError(f"{path} has no {of_key[0]}. Remove it and run `dvc repro` to fetch it anew.")
        found[key] = members[present[0]]
    return found
