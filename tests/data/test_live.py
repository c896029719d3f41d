from __future__ import annotations

import json

import pytest

from unimr.data.items import Item, ItemText
from unimr.data.live import JOURNAL, Journal, LiveChange, with_live_changes
from unimr.data.own_lines import ItemLine
from unimr.errors import UnimrError


def put(item_id: str, name: str, lang: str = "en") -> LiveChange:
    texts = [{"lang": lang, "role": "name", "text": name}]
    pictures = [{"style": "google", "path": "0"}]
    line = ItemLine.model_validate({"item_id": item_id, "texts": texts, "pictures": pictures})
    return LiveChange(item_id, line, (b"\x89PNG",))


def item(item_id: str) -> Item:
    return Item(item_id, item_id, {"base": item_id}, (ItemText("en", "name", item_id),), ())


def written(root, *changes: LiveChange) -> Journal:
    journal = Journal(root)
    for change in changes:
        journal.append(change)
    journal.close()
    return Journal(root)


def test_changes_are_read_again_the_last_of_each_item_counts(tmp_path):
    journal = written(tmp_path, put("a", "one"), put("b", "two"), LiveChange("b"), put("a", "three"))
    assert journal.changes == {"a": put("a", "three"), "b": LiveChange("b")}


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_line_that_a_crash_cut_short_is_dropped_and_the_next_one_is_whole(tmp_path, cut):
    written(tmp_path, put("a", "one"), put("b", "two")).close()
    path = tmp_path / JOURNAL
    path.write_bytes(path.read_bytes()[:-cut])
    again = written(tmp_path, put("c", "three"))
    assert set(again.changes) == {"a", "c"}
    assert [json.loads(line) for line in path.read_text().splitlines()]


def test_a_damaged_line_is_named_and_nothing_is_changed(tmp_path):
    written(tmp_path, put("a", "one"), put("b", "two")).close()
    path = tmp_path / JOURNAL
    damaged = path.read_bytes().replace(b'"one"', b'"one')
    path.write_bytes(damaged)
    with pytest.raises(UnimrError, match="line 1, is damaged"):
        Journal(tmp_path)
    assert path.read_bytes() == damaged


def test_the_next_build_takes_them_in(tmp_path):
    written(tmp_path, put("b", "new"), LiveChange("c"), put("d", "neu", "de"), put("e", "nouveau", "fr")).close()
    built = with_live_changes([item("a"), item("b"), item("c")], tmp_path, {"en", "de"})
    assert [each.item_id for each in built] == ["a", "b", "d"]
    assert built[1].texts[0].text == "new" and built[1].pictures[0].data == b"\x89PNG"


def test_without_a_journal_items_stay_as_they_are(tmp_path):
    assert with_live_changes([item("a")], tmp_path, {"en"}) == [item("a")]
