from __future__ import annotations

import pandas as pd
import pytest

from unimr.data import tables
from unimr.data.tables import SCHEMAS, item_attributes, read_table, table_files, write_table
from unimr.errors import UnimrError


def images(count: int, size: int = 10) -> pd.DataFrame:
    rows = [
        (f"i{n}/photo", f"i{n}", "photo", bytes([n]) * size, 8, 8, "0" * 64, {"year": "2020"}, "train")
        for n in range(count)
    ]
    return pd.DataFrame(rows, columns=SCHEMAS["images"].names)


def utterances() -> pd.DataFrame:
    slots = [{"start": 0, "end": 3, "label": "subject"}]
    rows = [
        ("u1", "en", "cat", "find_image", slots, "i1", "train"),
        ("u2", "en", "hi", "out_of_scope", [], None, "test"),
    ]
    return pd.DataFrame(rows, columns=SCHEMAS["utterances"].names)


def test_what_is_written_is_read(tmp_path):
    write_table(tmp_path, "utterances", utterances())
    found = read_table(tmp_path, "utterances")
    assert found["slots"].tolist() == utterances()["slots"].tolist()
    assert found["item_id"][0] == "i1" and pd.isna(found["item_id"][1])
    assert list(found.columns) == SCHEMAS["utterances"].names


def test_attributes_come_back_as_a_dict(tmp_path):
    write_table(tmp_path, "images", images(2))
    assert item_attributes(read_table(tmp_path, "images")) == {"i0": {"year": "2020"}, "i1": {"year": "2020"}}


def test_pictures_are_cut_into_shards_and_read_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "SHARD_BYTES", 25)
    written = write_table(tmp_path, "images", images(5))
    assert [path.name for path in written] == [f"images-{n:05d}.parquet" for n in range(3)]
    assert table_files(tmp_path, "images") == written
    assert read_table(tmp_path, "images", ["image_id"])["image_id"].tolist() == [f"i{n}/photo" for n in range(5)]


def test_an_empty_table_keeps_its_columns(tmp_path):
    write_table(tmp_path, "images", images(0))
    assert list(read_table(tmp_path, "images").columns) == SCHEMAS["images"].names


def test_the_same_rows_give_the_same_bytes(tmp_path):
    for folder in ("one", "two"):
        write_table(tmp_path / folder, "utterances", utterances())
        write_table(tmp_path / folder, "images", images(3))
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_a_missing_column_is_named(tmp_path):
    with pytest.raises(UnimrError, match=r"`utterances` lacks the column 'intent'"):
        write_table(tmp_path, "utterances", utterances().drop(columns="intent"))
    assert list(tmp_path.iterdir()) == []


def test_a_value_of_another_type_is_refused(tmp_path):
    with pytest.raises(UnimrError, match="does not fit its schema"):
        write_table(tmp_path, "utterances", utterances().assign(text=[1, 2]))


def test_a_column_that_the_file_lacks_is_named(tmp_path):
    utterances().drop(columns=["slots", "intent"]).to_parquet(tmp_path / "utterances.parquet")
    with pytest.raises(UnimrError, match="intent"):
        read_table(tmp_path, "utterances", ["text", "intent"])


def test_a_missing_and_a_damaged_table_are_named(tmp_path):
    with pytest.raises(UnimrError, match="`texts` is missing"):
        read_table(tmp_path, "texts")
    (tmp_path / "texts.parquet").write_bytes(b"no parquet at all")
    with pytest.raises(UnimrError, match=r"`texts` in .* cannot be read"):
        read_table(tmp_path, "texts")
