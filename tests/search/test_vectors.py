from __future__ import annotations

import numpy as np
import pytest

from unimr.index.publish import PUBLISHED, current_version, verify_version, versions_folder
from unimr.index.schema import IMAGES, TEXTS, Filter
from unimr.search.overlay import LiveItem, LiveRow, Overlay
from unimr.search.query import DenseSide
from unimr.search.vectors import Vectors

from ..index.small_index import WordEncoder

MODEL = WordEncoder()


@pytest.fixture
def vectors(published_root):
    folder = versions_folder(published_root) / current_version(published_root)
    opened = Vectors(folder, verify_version(folder), published_root / PUBLISHED / "open")
    yield opened
    opened.close()


def side(word: str, spec=IMAGES, filters: tuple[Filter, ...] = (), depth: int = 3) -> DenseSide:
    return DenseSide(spec, 1.0, MODEL.encode_texts([word])[0], filters, depth)


def renamed(item: str, word: str) -> Overlay:
    """The item as it is after a change: one picture, which shows what the word says."""
    row = LiveRow(f"{item}/new", item, {"style": "google"}, MODEL.encode_texts([word])[0])
    shown = {"names": {}, "descriptions": {}, "attributes": {}}
    return Overlay({item: LiveItem(shown, [], {IMAGES.name: [row], TEXTS.name: []}, {})}, frozenset({item}))


SIDES = [
    side("cat"), side("dog", TEXTS), side("cat", filters=(Filter("style", "==", "openmoji"),)), side("fox", depth=5),
]  # fmt: skip


def test_every_side_has_its_own_rows_in_their_order(vectors):
    found = vectors.search(SIDES)
    assert [hits[0].item_id for hits in found] == ["cat", "dog", "cat", "fox"]
    assert [len(hits) for hits in found] == [3, 3, 3, 5]
    assert found[2][0].key == "cat/openmoji"


def test_in_memory_the_same_is_found(vectors):
    before, pictures = vectors.search(SIDES), vectors.of_pictures(["cat/google", "nothing"])
    vectors.hold_in_memory()
    assert [[hit.key for hit in hits] for hits in vectors.search(SIDES)] == [[hit.key for hit in row] for row in before]
    again = vectors.of_pictures(["cat/google", "nothing"])
    assert list(again) == list(pictures) == ["cat/google"]
    np.testing.assert_allclose(again["cat/google"], pictures["cat/google"], atol=1e-6)


def test_a_change_hides_what_the_index_has_and_is_found_in_its_place(vectors):
    vectors.lay_over(renamed("cat", "tiger"))
    tiger, cat = vectors.search([side("tiger"), side("cat", depth=30)])
    assert (tiger[0].key, len(tiger)) == ("cat/new", 3)
    assert [hit.key for hit in cat if hit.item_id == "cat"] == ["cat/new"]
    assert list(vectors.of_pictures(["cat/new", "dog/google"])) == ["cat/new", "dog/google"]


def test_as_many_rows_are_left_where_the_nearest_are_hidden(vectors):
    vectors.lay_over(Overlay({}, frozenset({"cat", "dog", "fox"})))
    (hits,) = vectors.search([side("cat", depth=4)])
    assert len(hits) == 4 and not {hit.item_id for hit in hits} & {"cat", "dog", "fox"}
