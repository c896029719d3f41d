"""The real files, where they are: counts, splits, and what is left out of them."""

from __future__ import annotations

from collections import Counter

import pytest

from unimr.data.published.records import Dataset
from unimr.data.published.sources import read_all

from .conftest import SHARED

pytestmark = [
    pytest.mark.skipif(not SHARED.is_dir(), reason=f"the published data sets are not in {SHARED}"),
    pytest.mark.slow,
]


@pytest.fixture(scope="module")
def data() -> Dataset:
    return read_all(SHARED)


def test_every_record_is_read_but_one(data):
    counts = {"flickr": 84_601, "flickr8kcn": 30_215, "multi30k": 174_720, "xtd10": 4_000, "massive": 176_111}
    assert data.counts == counts | {"xsid": 1_950, "xquad": 5_123, "ntrex": 16_035, "tatoeba": 13_000}
    assert [(one.file, one.reason[:20]) for one in data.bad] == [("xquad/xquad.ar.json", "the character U+FFFD")]


def test_photographs_and_their_captions_keep_the_official_split(data):
    assert Counter(photo.split for photo in data.photos.values()) == {"train": 5_176, "dev": 867}
    dev = {item for item, photo in data.photos.items() if photo.split == "dev"}
    assert {text.split for text in data.texts if text.item_id in dev} == {"dev"}
    langs = {text.lang for text in data.texts if text.item_id in dev}
    assert langs == {"en", "de", "fr", "cs", "pt", "zh", "ar", "hi"}


def test_utterances_have_the_published_labels(data):
    massive = [row for row in data.utterances if row.collection == "massive"]
    assert Counter(row.split for row in massive) == {"train": 13 * 11_514, "dev": 13 * 2_033}
    assert len({row.intent for row in massive}) == 60
    assert len({label for row in massive for _, _, label in row.slots}) == 55


def test_no_item_is_in_two_splits(data):
    splits: dict[str, set[str]] = {}
    for text in data.texts:
        splits.setdefault(text.item_id, set()).add(text.split)
    assert all(len(found) == 1 for found in splits.values())
