"""Row checks one by one, without the library around them."""

from __future__ import annotations

import pandas as pd
import pytest

from unimr.quality import leaks, rows
from unimr.quality.catalogue import Catalogue

from . import poisons as p
from .small_catalogue import Tables


def catalogue_of(**tables: pd.DataFrame) -> Catalogue:
    return Catalogue(tables, ("en",), (), ())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("red cat", None),
        ("गोरी बिल्ली", None),
        (None, None),
        ("", "empty"),
        (" \u3000", "empty"),
        (" cat", "edge"),
        ("cat\n", "edge"),
        ("c\x00t", "U+0000"),
        ("gr\ufffdn", "U+FFFD"),
        ("a\u2028b", "U+2028"),
    ],
)
def test_text_is_clean(text: str | None, said: str | None) -> None:
    found = rows.text_is_clean(catalogue_of(texts=pd.DataFrame({"text": [text]})), {"table": "texts"})
    assert (said in found[0]) if said else not found


@pytest.mark.parametrize(
    ("spans", "said"),
    [
        ([(8, 15)], None),
        ([(8, 11), (12, 15)], None),
        ([], None),
        ([(-1, 4)], "not in"),
        ([(4, 4)], "not in"),
        ([(11, 8)], "not in"),
        ([(8, 40)], "not in"),
        ([(8, 12)], "white space"),
        ([(7, 8)], "blank"),
        ([(9, 11)], "word"),
        ([(8, 10)], "word"),
        ([(8, 15), (12, 15)], "overlaps"),
        ([(8, 15), (8, 15)], "overlaps"),
        ([(None, 4)], "no start"),
    ],
)
def test_spans_are_sound(spans: list[tuple[int | None, int]], said: str | None) -> None:
    slots = [{"start": start, "end": end, "label": "subject"} for start, end in spans]
    found = rows.spans_are_sound(
        catalogue_of(utterances=pd.DataFrame({"text": ["show me red cat"], "slots": [slots]})), {}
    )
    assert (said in found[0]) if said else not found


def test_spans_of_scripts_without_spaces_may_begin_at_any_character() -> None:
    frame = pd.DataFrame({"text": ["赤い猫を見せて"], "slots": [[{"start": 0, "end": 3, "label": "subject"}]]})
    assert not rows.spans_are_sound(catalogue_of(utterances=frame), {})


@pytest.mark.parametrize(
    ("kind", "role", "text", "said"),
    [
        ("short", "name", "cat", None),
        ("long", "description", "x" * 500, None),
        ("long", "name", "cat", "a name is short"),
        ("short", "keyword", "x" * 201, "201 characters"),
    ],
)
def test_kind_fits_role(kind: str, role: str, text: str, said: str | None) -> None:
    limits = {"kinds": {"name": "short", "keyword": "short", "description": "long"}, "max_characters": {"short": 200}}
    frame = pd.DataFrame({"kind": [kind], "role": [role], "text": [text]})
    found = rows.kind_fits_role(catalogue_of(texts=frame), limits)
    assert (said in found[0]) if said else not found


def test_nulls_are_no_orphans_and_unknown_values_are() -> None:
    catalogue = catalogue_of(a=pd.DataFrame({"x": ["1", None, "3"]}), b=pd.DataFrame({"y": ["1", None]}))
    found = rows.refers_to(catalogue, {"table": "a", "column": "x", "to": [["b", "y"]]})
    assert found == {2: "x '3' is not in b.y"}


def test_conflicting_annotations_of_one_text_are_found() -> None:
    frame = pd.DataFrame(
        {
            "lang": ["en", "en", "de"],
            "text": ["cat"] * 3,
            "intent": ["find_image", "find_text", "find_text"],
            "slots": [[], [], []],
        }
    )
    assert list(rows.same_text_same_annotation(catalogue_of(utterances=frame), {})) == [1]


def test_unknown_attribute_values_are_found() -> None:
    frame = pd.DataFrame({"attributes": [{"gender": "man"}, {"gender": "robot"}, {}, None]})
    found = rows.attributes_are_known(catalogue_of(images=frame), {"values": {"gender": ["woman", "man"]}})
    assert list(found) == [1]


def test_lookalikes_are_told_from_other_drawings(tables: Tables) -> None:
    limits = {"max_luminance": 8, "mean_luminance": 2, "mean_colour": 4}
    catalogue = Catalogue(tables, ("en",), (), ("openmoji",))
    assert not leaks.no_lookalike_in_train_and_test(catalogue, limits)
    images = tables["images"]
    source, target = p.rows_of(images, split="test_item")[0], p.rows_of(images, split="train")[0]
    for kind, size in (("JPEG", 64), ("WEBP", 100), ("PNG", 72)):
        images.at[target, "image"] = p.reencode(images.at[source, "image"], kind, size)
        found = leaks.no_lookalike_in_train_and_test(Catalogue(tables, ("en",), (), ()), limits)
        assert list(found) == [target]
