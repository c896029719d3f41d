"""Showing an answer: a contact sheet as PNG, and a table for the terminal."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from unimr.files import atomic_file
from unimr.search.answer import Hit, SearchAnswer

if TYPE_CHECKING:
    from rich.table import Table

CARD_WIDTH, CARD_HEIGHT, PICTURE, GAP, MARGIN = 168, 196, 104, 16, 32
HEADER = 112
COLUMNS = 5
SCALE = 2  # drawn at twice the size, for sharp text on screens with small pixels
BACKGROUND, CARD, EDGE = "#eef0f3", "#ffffff", "#dde1e7"
INK, SOFT, CHIP, CHIP_INK = "#1b1f27", "#667085", "#dfe7fb", "#27459b"
_MISSING_GLYPH = "\U0010fffd"


def write_sheet(answer: SearchAnswer, path: Path) -> None:
    """Draw an answer as a contact sheet and write it as PNG: a header of what was understood, a card a result."""
    columns = max(3, min(COLUMNS, len(answer.hits)))
    rows = max(1, -(-len(answer.hits) // columns))
    width = 2 * MARGIN + columns * CARD_WIDTH + (columns - 1) * GAP
    height = HEADER + rows * (CARD_HEIGHT + GAP) + MARGIN - GAP
    sheet = Image.new("RGB", (width * SCALE, height * SCALE), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    _draw_header(draw, answer, width)
    for number, hit in enumerate(answer.hits):
        x = MARGIN + number % columns * (CARD_WIDTH + GAP)
        y = HEADER + number // columns * (CARD_HEIGHT + GAP)
        _draw_card(sheet, draw, hit, x, y)
    if not answer.hits:
        draw.text(_scaled(MARGIN, HEADER + 12), "Nothing was found.", fill=SOFT, font=_font(16))
    with atomic_file(path) as temporary:
        sheet.save(temporary, format="PNG", optimize=True)


def render_table(answer: SearchAnswer) -> Table:
    """The results as a rich table; what was understood stands in its title."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(" · ".join(understood(answer))), caption=escape("\n".join(answer.notes)) or None)
    table.add_column("#", justify="right")
    table.add_column("title")
    if answer.lang != "en":
        table.add_column("English")
    table.add_column("what it is", max_width=60)
    table.add_column("picture")
    table.add_column("score", justify="right")
    for number, hit in enumerate(answer.hits, start=1):
        cells = [hit.title] if answer.lang == "en" else [hit.title, hit.english]
        cells = [str(number), *cells, hit.text or "", hit.image_id or "", f"{hit.score:.4f}"]
        table.add_row(*map(escape, cells))
    return table


def understood(answer: SearchAnswer) -> list[str]:
    """What was understood, in a few words: intent, language, slots, filters."""
    parts = [f"{answer.intent.replace('_', ' ')} ({answer.confidence:.0%})", answer.lang]
    for slot in answer.slots:
        same = slot.value in (None, slot.text)
        parts.append(f"{slot.label.replace('_', ' ')}: {slot.text}" + ("" if same else f" → {slot.value}"))
    return parts + [f"only {each}" for each in answer.filters]


def _draw_header(draw: ImageDraw.ImageDraw, answer: SearchAnswer, width: int) -> None:
    title = answer.query or "Pictures like this one"
    if not _drawable(title):
        title = f"A query in “{answer.lang}”, in letters that this font lacks"
    limit = width - 2 * MARGIN
    draw.text(_scaled(MARGIN, 24), _fit(title, 22, limit, bold=True), fill=INK, font=_font(22, bold=True))
    x = MARGIN
    for part in filter(_drawable, understood(answer)):
        text = _fit(part, 12, limit)
        wide = _width(text, 12) + 20
        if x + wide > width - MARGIN:
            break
        box = (*_scaled(x, 62), *_scaled(x + wide, 86))
        draw.rounded_rectangle(box, radius=12 * SCALE, fill=CHIP)
        draw.text(_scaled(x + 10, 66), text, fill=CHIP_INK, font=_font(12))
        x += round(wide) + 8


def _draw_card(sheet: Image.Image, draw: ImageDraw.ImageDraw, hit: Hit, x: int, y: int) -> None:
    box = (*_scaled(x, y), *_scaled(x + CARD_WIDTH, y + CARD_HEIGHT))
    draw.rounded_rectangle(box, radius=14 * SCALE, fill=CARD, outline=EDGE, width=SCALE)
    if hit.picture is not None:
        picture = Image.open(io.BytesIO(hit.picture)).convert("RGBA")
        side = PICTURE * SCALE
        ratio = min(side / picture.width, side / picture.height)
        size = (max(1, round(picture.width * ratio)), max(1, round(picture.height * ratio)))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
        left, top = _scaled(x + (CARD_WIDTH - PICTURE) // 2, y + 14)
        sheet.paste(picture, (left + (side - size[0]) // 2, top + (side - size[1]) // 2), picture)
    title = hit.title if _drawable(hit.title) else hit.english
    for line, text in enumerate(_lines(title, 13, CARD_WIDTH - 20)):
        place = _scaled(x + CARD_WIDTH / 2, y + PICTURE + 24 + 17 * line)
        draw.text(place, text, fill=INK, font=_font(13), anchor="ma")
    place = _scaled(x + CARD_WIDTH / 2, y + CARD_HEIGHT - 24)
    draw.text(place, _fit(hit.style or "", 11, CARD_WIDTH - 20), fill=SOFT, font=_font(11), anchor="ma")


def _lines(text: str, size: int, limit: int) -> list[str]:
    """Two lines at most, broken between words; what does not fit is cut."""
    words = text.split()
    first = words[:1]
    while len(first) < len(words) and _width(" ".join(words[: len(first) + 1]), size) <= limit:
        first = words[: len(first) + 1]
    rest = " ".join(words[len(first) :])
    return [_fit(" ".join(first), size, limit)] + ([_fit(rest, size, limit)] if rest else [])


def _fit(text: str, size: int, limit: int, bold: bool = False) -> str:
    if _width(text, size, bold) <= limit:
        return text
    while text and _width(text + "…", size, bold) > limit:
        text = text[:-1]
    return text.rstrip() + "…"


def _width(text: str, size: int, bold: bool = False) -> float:
    return float(_font(size, bold).getlength(text)) / SCALE


def _drawable(text: str) -> bool:
    """Whether the font has a glyph for every character."""
    font = _font(13)
    missing = bytes(font.getmask(_MISSING_GLYPH))
    return all(each.isspace() or bytes(font.getmask(each)) != missing for each in set(text))


def _scaled(x: float, y: float) -> tuple[int, int]:
    return round(x * SCALE), round(y * SCALE)


def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib: Latin, Greek, Cyrillic, Arabic letters, many symbols; no CJK."""
    from matplotlib import get_data_path

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(get_data_path()) / "fonts" / "ttf" / name), size * SCALE)
