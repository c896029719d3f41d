"""Every kind of spoilt data is caught, by the expectation that is meant for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from unimr.errors import UnimrError
from unimr.files import read_json, write_json
from unimr.params import Params
from unimr.quality.validate import run

from . import poisons as p
from .small_catalogue import Tables

POISONS: dict[str, tuple[Callable[[Tables], object], str, str]] = {
    # name: how the tables are spoilt, the table that is blamed, the expectation that finds it
    "null text": (lambda t: p.set_column(t, "texts", "text", None), "texts", "values_to_not_be_null(text)"),
    "empty text": (lambda t: p.set_column(t, "texts", "text", ""), "texts", "value_lengths_to_be_between(text)"),
    "over-long text": (
        lambda t: p.set_column(t, "texts", "text", "word " * 900 + "end"),
        "texts",
        "value_lengths_to_be",
    ),
    "bad language tag": (lambda t: p.set_column(t, "texts", "lang", "deutsch"), "texts", "match_regex(lang)"),
    "unknown split": (lambda t: p.set_column(t, "texts", "split", "dev"), "texts", "be_in_set(split)"),
    "unknown style": (lambda t: p.set_column(t, "images", "style", "apple"), "images", "be_in_set(style)"),
    "unknown intent": (lambda t: p.set_column(t, "utterances", "intent", "buy"), "utterances", "be_in_set(intent)"),
    "duplicate ids": (
        lambda t: p.set_column(t, "queries", "query_id", "name_to_image/en/0"),
        "queries",
        "be_unique(query_id)",
    ),
    "id of another row": (
        lambda t: t["texts"].update({"text_id": t["texts"]["text_id"].to_list()[9:] + ["x"] * 9}),
        "texts",
        "id_is_made",
    ),
    "same text twice": (
        lambda t: [p.add_text(t, t["texts"]["item_id"][0], "sw", "paka", "untrained", n) for n in range(40)],
        "texts",
        "text_is_new_for_item",
    ),
    "orphan qrels": (lambda t: p.set_column(t, "qrels", "query_id", "gone"), "qrels", "refers_to, query_id"),
    "orphan utterance item": (
        lambda t: p.set_column(t, "utterances", "item_id", "gone"),
        "utterances",
        "refers_to, item_id",
    ),
    "pictures without texts": (
        lambda t: p.drop(t, "texts", t["texts"].index[t["texts"]["item_id"].isin(t["images"]["item_id"][:12])]),
        "images",
        "refers_to, item_id",
    ),
    "broken pictures": (
        lambda t: p.replace_pictures(t, t["images"].index[:9], b"<html>404</html>"),
        "images",
        "picture_is_readable",
    ),
    "truncated pictures": (
        lambda t: [
            p.replace_pictures(t, t["images"].index[n : n + 1], t["images"]["image"][n][:120]) for n in range(9)
        ],
        "images",
        "picture_is_readable",
    ),
    "decompression bomb": (
        lambda t: p.replace_pictures(t, t["images"].index[:9], p.bomb(50_000)),
        "images",
        "picture_is_readable",
    ),
    "wrong sha256": (lambda t: p.set_column(t, "images", "sha256", "0" * 64), "images", "picture_sha256_is_stated"),
    "wrong size": (lambda t: p.set_column(t, "images", "width", 65), "images", "picture_size_is_stated"),
    "span outside": (lambda t: p.set_slots(t, {"end": 500}), "utterances", "spans_are_sound"),
    "overlapping spans": (lambda t: p.shift_slots(t, 0, 2), "utterances", "spans_are_sound"),
    "unknown slot label": (lambda t: p.set_slots(t, {"label": "shape"}), "utterances", "slot_labels_are_known"),
    "swapped names": (lambda t: p.shuffle_texts(t, "name", "ru"), "texts", "names_fit_keywords"),
    "swapped items": (lambda t: p.move_texts(t, "ja"), "texts", "texts_fit_categories"),
    "swapped pictures": (lambda t: p.shuffle_pictures(t, "twitter"), "images", "styles_agree"),
    "swapped qrels": (p.shuffle_qrels, "qrels", "qrels_fit_texts"),
    "swapped utterance items": (p.shuffle_utterance_items, "utterances", "subjects_fit_items"),
    "text flood": (p.flood_texts, "texts", "texts_are_not_flooded"),
    "utterance flood": (p.flood_utterances, "utterances", "utterances_are_not_flooded"),
    "picture flood": (p.flood_pictures, "images", "pictures_are_not_flooded"),
    "empty language": (lambda t: p.drop(t, "texts", p.rows_of(t["texts"], lang="sw")), "texts", "languages_are_filled"),
    "nearly empty language": (
        lambda t: p.drop(t, "texts", p.rows_of(t["texts"], lang="ru")[12:]),
        "texts",
        "languages_are_filled",
    ),
    "wrong script": (
        lambda t: p.set_column(t, "texts", "text", "cat", p.rows_of(t["texts"], lang="ru", role="keyword")),
        "texts",
        "texts_are_in_their_script",
    ),
    "intent missing in test": (
        lambda t: p.drop(t, "utterances", p.rows_of(t["utterances"], intent="find_similar", split="test")),
        "utterances",
        "labels_are_in_each_split",
    ),
    "leaked picture": (lambda t: p.leak_picture(t, "same"), "images", "no_picture_in_train_and_test"),
    "leaked picture as JPEG": (
        lambda t: p.leak_picture(t, "JPEG", quality=85),
        "images",
        "no_lookalike_in_train_and_test",
    ),
    "leaked style": (
        lambda t: p.leak_picture(t, "JPEG", style_test=1, quality=90),
        "images",
        "no_lookalike_in_train_and_test",
    ),
    "unseen style trained": (
        lambda t: p.set_column(t, "images", "split", "train", p.rows_of(t["images"], style="openmoji")[:1]),
        "images",
        "item_is_in_one_split",
    ),
    "leaked keyword": (lambda t: p.leak_text(t, "test_keyword", "case"), "texts", "no_text_in_train_and_test"),
    "texts of a test item trained": (
        lambda t: p.add_text(
            t, t["texts"].loc[p.rows_of(t["texts"], split="test_item")[0], "item_id"], "en", "new", "train"
        ),
        "texts",
        "item_text_is_in_one_split",
    ),
    "untrained language trained": (
        lambda t: p.set_column(t, "texts", "split", "train", p.rows_of(t["texts"], lang="sw")[:1]),
        "texts",
        "item_text_is_in_one_split",
    ),
    "leaked pair, other spaces": (lambda t: p.leak_text(t, "test_pair", "form"), "texts", "no_text_in_train_and_test"),
    "leaked utterance": (p.leak_utterance, "utterances", "no_utterance_in_train_and_test"),
    "utterance of a test item": (
        lambda t: p.set_column(
            t,
            "utterances",
            "item_id",
            t["texts"].loc[p.rows_of(t["texts"], split="test_item")[0], "item_id"],
            p.rows_of(t["utterances"], split="train")[:1],
        ),
        "utterances",
        "train_utterance_gives_no_name_away",
    ),
    "query seen as utterance": (
        lambda t: p.set_column(
            t,
            "queries",
            "text",
            t["utterances"]["text"][0],
            p.rows_of(t["queries"], task="intent_to_item", lang="en")[:1],
        ),
        "queries",
        "query_is_no_train_utterance",
    ),
    "query seen as text": (
        lambda t: p.set_column(
            t, "queries", "text", "red", p.rows_of(t["queries"], task="keyword_to_item", lang="en")[:1]
        ),
        "queries",
        "query_is_no_train_text",
    ),
}


def shorten_other_suites(root: Path, table: str) -> None:
    """Leave the suite of one table as committed, and of the others only columns and references: three times as fast."""
    suites = {file.stem: read_json(file) for file in (root / "expectations").glob("*.json")}
    (root / "expectations").unlink()
    for name, suite in suites.items():
        if name != table:
            needed = ("expect_columns_to_be", "refers_to")
            suite["expectations"] = [
                entry for entry in suite["expectations"] if {entry["type"], entry["kwargs"].get("check")} & set(needed)
            ]
        write_json(root / "expectations" / f"{name}.json", suite)


@pytest.mark.parametrize("name", POISONS)
def test_poison_is_caught(name: str, tables: Tables, params: Params, prepared: Callable[[Tables], Path]) -> None:
    spoil, table, expectation = POISONS[name]
    spoil(tables)
    root = prepared(tables)
    shorten_other_suites(root, table)
    with pytest.raises(UnimrError) as caught:
        run(params, root)
    result = read_json(root / "metrics" / "validation.json")
    failed = [name for name, found in result["tables"][table]["expectations"].items() if not found["success"]]
    assert any(expectation in name for name in failed), failed
    blamed = [problem for problem in result["problems"] if expectation in problem and f"`{table}`" in problem]
    assert blamed, result["problems"]
    assert result["problems"][0] in str(caught.value)
    assert not (root / "data" / "validated").exists()
    assert (root / "reports" / "validation" / "index.html").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda table: table.drop_columns(["style"]), "`style` is missing"),
        (lambda table: table.append_column("note", pa.array(["x"] * len(table))), "`note` is not expected"),
        (
            lambda table: table.set_column(4, "width", table["width"].cast(pa.string())),
            "`width` is string, not int32",
        ),
    ],
    ids=["missing column", "unexpected column", "wrong type"],
)
def test_wrong_columns_are_caught_before_the_rows_are_read(
    change: Callable[[pa.Table], pa.Table],
    said: str,
    tables: Tables,
    params: Params,
    prepared: Callable[[Tables], Path],
) -> None:
    root = prepared(tables)
    file = root / "data" / "prepared" / "images-00000.parquet"
    pq.write_table(change(pq.read_table(file)), file)
    with pytest.raises(UnimrError, match=r"Table `images`, expect_columns_to_be.*") as caught:
        run(params, root)
    assert said in str(caught.value)
    assert "Nothing else was checked" in (root / "reports" / "validation" / "index.html").read_text(encoding="utf-8")


def test_a_missing_table_and_a_damaged_one_are_named(
    tables: Tables, params: Params, prepared: Callable[[Tables], Path]
) -> None:
    root = prepared(tables)
    file = root / "data" / "prepared" / "qrels.parquet"
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(UnimrError, match=r"The table `qrels` .* is damaged"):
        run(params, root)
    file.unlink()
    with pytest.raises(UnimrError, match="The table `qrels` is missing"):
        run(params, root)
