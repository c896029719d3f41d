from __future__ import annotations

import io

import numpy as np
from PIL import Image
from rich.console import Console

from unimr.search.sheet import CARD, _drawable, _lines, _width, render_table, understood, write_sheet


def test_sheet_has_a_white_card_and_a_picture_for_every_hit(engine, tmp_path):
    answer = engine.search("cat", k=7)
    write_sheet(answer, tmp_path / "sheet.png")
    sheet = Image.open(tmp_path / "sheet.png").convert("RGB")
    pixels = np.asarray(sheet).reshape(-1, 3)
    for hit in answer.hits:
        colour = Image.open(io.BytesIO(hit.picture)).getpixel((0, 0))
        assert (pixels == colour).all(axis=1).sum() > 10_000, hit.title
    assert CARD == "#ffffff" and (pixels == 255).all(axis=1).mean() > 0.2


def test_sheet_without_hits_is_still_written(engine, tmp_path):
    write_sheet(engine.search("cat", filters=engine.parse_filters(["year>2100"])), tmp_path / "sheet.png")
    assert Image.open(tmp_path / "sheet.png").format == "PNG"


def test_titles_that_the_font_cannot_write_are_known():
    assert _drawable("Schloß über кот") and not _drawable("食パン")


def test_long_titles_stay_within_the_card():
    lines = _lines("a very long title of many words that never fits into two lines", 13, 120)
    assert len(lines) == 2 and all(_width(line, 13) <= 120 for line in lines) and lines[1].endswith("…")


def test_table_shows_what_was_understood_and_the_results(engine):
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(render_table(engine.search("Katze openmoji")))
    text = console.export_text()
    assert "style: openmoji" in text and "Katze" in text and "cat/openmoji" in text and "English" in text


def test_words_of_the_query_are_not_read_as_markup(engine):
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(render_table(engine.search("[bold]cat[/nothing]")))
    assert "cat" in console.export_text()


def test_understood_names_intent_language_slots_and_filters(engine):
    assert understood(engine.search("cat openmoji")) == [
        "find image (90%)", "en", "subject: cat", "style: openmoji", "only style == openmoji",
    ]  # fmt: skip
