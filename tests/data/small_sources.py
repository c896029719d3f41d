"""Small sources in the shape of the real ones: archives as stage `fetch` writes them, and items."""

from __future__ import annotations

import io
import json
import tarfile
from functools import lru_cache
from pathlib import Path

from PIL import Image

from unimr.config import load_params
from unimr.data.archive import add_member
from unimr.data.items import Item, ItemText, Picture
from unimr.params import Params, PrepareParams

PROJECT = Path(__file__).parents[2]
SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><rect width="8" height="8" fill="#{}"/></svg>'
NAMES = {
    "en": {"👋": "waving hand", "👋🏿": "waving hand: dark skin tone", "😀": "grinning face", "👩": "woman"},
    "sw": {"👋": "mkono unaopunga", "👋🏿": "mkono unaopunga: ngozi nyeusi", "😀": "uso unaocheka", "👩": "mwanamke"},
    "de": {"👋": "winkende Hand", "👋🏿": "winkende Hand: dunkle Hautfarbe", "😀": "grinsendes Gesicht", "👩": "Frau"},
}
KEYWORDS = {"en": ["hand", "wave"], "sw": ["mkono"], "de": ["Hand", "winken"]}


@lru_cache(maxsize=1)
def _project_params() -> Params:
    return load_params(PROJECT)


def params(**changes: object) -> Params:
    """The project's parameters with changes in `prepare`."""
    loaded = _project_params()
    return loaded.model_copy(update={"prepare": loaded.prepare.model_copy(update=changes)})


def prepare_params(**changes: object) -> PrepareParams:
    return params(**changes).prepare


def png(colour: tuple[int, int, int] | str, side: int = 64) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(buffer, "PNG")
    return buffer.getvalue()


def write_archive(path: Path, members: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            add_member(archive, name, data)


def _entry(code: str, order: int, **more: object) -> dict[str, object]:
    common = {"category": "People & Body", "subcategory": "hands", "added_in": "0.6"}
    return {"unified": code, "image": f"{code.lower()}.png", "sort_order": order, **common, **more}


def emoji_metadata() -> list[dict[str, object]]:
    """Three base emoji and a component; the first has a single skin tone and a mixed one."""
    tone = {"unified": "1F44B-1F3FF", "image": "1f44b-1f3ff.png", "added_in": "1.0"}
    return [
        _entry("1F600", 2, category="Smileys & Emotion", subcategory="face"),
        _entry("1F44B", 1, skin_variations={"1F3FF": tone, "1F3FB-1F3FF": {"unified": "X", "image": "x.png"}}),
        _entry("1F469", 3, added_in="16.0"),
        _entry("1F3FB", 4, category="Component"),
    ]


def write_raw(raw: Path) -> None:
    """The five archives of a catalogue of three base emoji and a skin tone."""
    codes = ["1f600", "1f44b", "1f44b-1f3ff", "1f469"]
    for number, style in enumerate(("google", "twitter")):
        pictures = {f"img/{style}/64/{code}.png": png((60 * place, 90 * number, 7)) for place, code in enumerate(codes)}
        write_archive(raw / f"{style}.tar", {"emoji.json": json.dumps(emoji_metadata()).encode(), **pictures})
    drawings = {f"color/svg/{code.upper()}.svg": SVG.format(f"{place}0ff{place}0") for place, code in enumerate(codes)}
    write_archive(raw / "openmoji.tar", {name: svg.encode() for name, svg in drawings.items()})
    plain, derived = {}, {}
    for lang, names in NAMES.items():
        entries = {char: {"tts": [name], "default": KEYWORDS[lang]} for char, name in names.items() if len(char) == 1}
        tones = {char: {"tts": [name], "default": KEYWORDS[lang]} for char, name in names.items() if len(char) > 1}
        plain[f"annotations/{lang}/annotations.json"] = json.dumps({"annotations": {"annotations": entries}}).encode()
        derived[f"annotationsDerived/{lang}/annotations.json"] = json.dumps(
            {"annotationsDerived": {"annotations": tones}}
        ).encode()
    write_archive(raw / "cldr.tar", plain)
    write_archive(raw / "cldr-derived.tar", derived)


def item(item_id: str, *texts: tuple[str, str, str], base: str = "", pictures: tuple[Picture, ...] = ()) -> Item:
    """An item of texts (lang, role, text)."""
    attributes = {"base": base or item_id, "category": "Objects"}
    return Item(item_id, base or item_id, attributes, tuple(ItemText(*text) for text in texts), pictures)
