from __future__ import annotations

from unimr.data.tables import read_table, write_table
from unimr.index.changes import ItemChanges, item_changes, item_digests

from .small_index import write_tables


def edit(tables, name, change):
    table = read_table(tables, name)
    write_table(tables, name, change(table))


def test_added_changed_and_removed_items_are_told_apart(root):
    tables = root / "data/validated"
    before = item_digests(tables)
    edit(tables, "texts", lambda texts: texts.replace({"item_id": {"dog": "wolf"}}))
    edit(tables, "images", lambda images: images.replace({"item_id": {"dog": "wolf"}}))
    edit(tables, "texts", lambda texts: texts.replace({"text": {"cat": "moggy"}}))
    edit(tables, "images", lambda images: images.assign(attributes=[
        {**values, "year": "1999"} if item == "fox" else values
        for item, values in zip(images["item_id"], images["attributes"], strict=True)
    ]))  # fmt: skip
    edit(tables, "images", lambda images: images[images["image_id"] != "bread/google"])
    changes = item_changes(before, item_digests(tables))
    assert changes == ItemChanges(["wolf"], ["bread", "cat", "fox"], ["dog"])
    assert str(changes) == "Items added: 1, changed: 3, removed: 1"


def test_the_order_of_the_rows_is_no_change(root):
    before = item_digests(root / "data/validated")
    edit(root / "data/validated", "texts", lambda texts: texts.iloc[::-1])
    assert item_digests(root / "data/validated") == before


def test_other_content_is_a_change_and_no_tables_are_no_items(root, tmp_path):
    before = item_digests(root / "data/validated")
    write_tables(root, changed_name="moggy")
    assert item_changes(before, item_digests(root / "data/validated")).changed == ["cat"]
    assert item_digests(tmp_path / "nothing") == {}
