from __future__ import annotations

import io

import pytest
from PIL import Image

from unimr.data.emoji import read_emoji
from unimr.errors import UnimrError

from .small_sources import png, write_archive, write_raw


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw")
    write_raw(folder)
    return folder


def test_base_items_in_order_each_followed_by_its_single_skin_tones(raw):
    found = [(item.item_id, item.base_id) for item in read_emoji(raw, ["en"], 32)]
    assert found == [("1f44b", "1f44b"), ("1f44b-1f3ff", "1f44b"), ("1f600", "1f600"), ("1f469", "1f469")]


def test_attributes_are_those_of_the_metadata_and_the_sequence(raw):
    attributes = {item.item_id: item.attributes for item in read_emoji(raw, ["en"], 32)}
    assert attributes["1f600"] == {
        "category": "Smileys & Emotion", "subcategory": "face", "year": "2010", "base": "1f600",
    }  # fmt: skip
    assert (attributes["1f44b-1f3ff"]["skin_tone"], attributes["1f44b-1f3ff"]["base"]) == ("dark", "1f44b")
    assert (attributes["1f469"]["gender"], attributes["1f469"]["year"]) == ("woman", "2024")


def test_names_in_every_language_and_keywords_of_base_items_only(raw):
    texts = {item.item_id: item.texts for item in read_emoji(raw, ["en", "de"], 32)}
    assert [(t.lang, t.role, t.text) for t in texts["1f44b"]] == [
        ("en", "name", "waving hand"), ("en", "keyword", "hand"), ("en", "keyword", "wave"),
        ("de", "name", "winkende Hand"), ("de", "keyword", "Hand"), ("de", "keyword", "winken"),
    ]  # fmt: skip
    assert [t.text for t in texts["1f44b-1f3ff"]] == ["waving hand: dark skin tone", "winkende Hand: dunkle Hautfarbe"]


def test_three_renderings_and_the_drawn_one_has_the_size_asked_for(raw):
    pictures = {picture.style: picture.data for picture in read_emoji(raw, ["en"], 48)[2].pictures}
    assert list(pictures) == ["google", "twitter", "openmoji"]
    assert pictures["google"] == png((0, 0, 7)) and pictures["twitter"] == png((0, 90, 7))
    with Image.open(io.BytesIO(pictures["openmoji"])) as drawn:
        assert drawn.size == (48, 48) and drawn.convert("RGB").getpixel((20, 20)) == (0, 255, 0)


def test_a_part_of_the_catalogue_is_spread_over_it(raw):
    assert {item.base_id for item in read_emoji(raw, ["en"], 32, base_items=1)} == {"1f44b"}


def test_a_language_that_cldr_lacks_is_named(raw):
    with pytest.raises(UnimrError, match=r"annotations/xx/annotations.json.*prepare.languages"):
        read_emoji(raw, ["en", "xx"], 32)


@pytest.mark.parametrize("archive", ["google", "twitter", "openmoji", "cldr", "cldr-derived"])
def test_a_missing_archive_is_named_with_what_to_do(tmp_path, archive):
    write_raw(tmp_path)
    (tmp_path / f"{archive}.tar").unlink()
    with pytest.raises(UnimrError, match=rf"{archive}.tar does not exist. Run `dvc repro`"):
        read_emoji(tmp_path, ["en"], 32)


def test_a_picture_that_the_archive_lacks_is_named(tmp_path):
    write_raw(tmp_path)
    write_archive(tmp_path / "twitter.tar", {"img/twitter/64/1f600.png": png("red")})
    with pytest.raises(UnimrError, match=r"twitter.tar has no img/twitter/64/1f44b.png"):
        read_emoji(tmp_path, ["en"], 32)


def test_a_truncated_archive_is_named(tmp_path):
    write_raw(tmp_path)
    path = tmp_path / "openmoji.tar"
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(UnimrError, match=r"openmoji.tar is damaged"):
        read_emoji(tmp_path, ["en"], 32)
