"""Sound data of many shapes passes, and a few bad rows are taken out without stopping anything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from unimr.data.tables import read_table, table_files
from unimr.params import Params
from unimr.quality.validate import run

from . import poisons as p
from .small_catalogue import Tables


def shuffle_rows(tables: Tables) -> None:
    for name, frame in tables.items():
        tables[name] = frame.sample(frac=1, random_state=3).reset_index(drop=True)


def only_items(tables: Tables, keep: Callable[[str], bool]) -> None:
    """A smaller catalogue, with all that belongs to the items that stay."""
    for name in ("images", "texts", "qrels"):
        p.drop(tables, name, tables[name].index[~tables[name]["item_id"].map(keep)])
    utterances = tables["utterances"]
    asked = utterances["item_id"].dropna()
    p.drop(tables, "utterances", asked.index[~asked.map(keep)])
    queries = tables["queries"]
    has_picture = queries["image_id"].isna() | queries["image_id"].isin(tables["images"]["image_id"])
    p.drop(tables, "queries", queries.index[~(queries["query_id"].isin(tables["qrels"]["query_id"]) & has_picture)])
    p.drop(tables, "qrels", tables["qrels"].index[~tables["qrels"]["query_id"].isin(tables["queries"]["query_id"])])


def without_pictures(tables: Tables, chosen: Callable[[pd.DataFrame], pd.Series]) -> None:
    images = tables["images"]
    gone = images[chosen(images)]
    p.drop(tables, "images", gone.index)
    asked = tables["queries"]["image_id"].isin(gone["image_id"])
    ids = tables["queries"].loc[asked, "query_id"]
    p.drop(tables, "queries", tables["queries"].index[asked])
    p.drop(tables, "qrels", tables["qrels"].index[tables["qrels"]["query_id"].isin(ids)])


def all_pictures_as(tables: Tables, kind: str, size: int) -> None:
    images = tables["images"]
    for label in images.index:
        p.replace_pictures(tables, images.index[[label]], p.reencode(images.at[label, "image"], kind, size, quality=90))
    images["width"] = images["height"] = size


def without_roles(tables: Tables, role: str) -> None:
    texts = tables["texts"]
    p.drop(tables, "texts", texts.index[(texts["role"] == role) & (texts["split"] != "test_keyword")])


def without_attributes(tables: Tables) -> None:
    p.set_column(tables, "images", "attributes", {}, slice(None))


def without_queries(tables: Tables, task: str) -> None:
    ids = tables["queries"].loc[tables["queries"]["task"] == task, "query_id"]
    p.drop(tables, "queries", ids.index)
    p.drop(tables, "qrels", tables["qrels"].index[tables["qrels"]["query_id"].isin(ids)])


def graded_relevance(tables: Tables) -> None:
    tables["qrels"]["relevance"] = [1 + number % 3 for number in range(len(tables["qrels"]))]


def text_of_two_items(tables: Tables) -> None:
    texts = tables["texts"]
    for number, item in enumerate(texts.loc[p.rows_of(texts, lang="en", split="train", role="name")[:20], "item_id"]):
        p.add_text(tables, item, "en", "picture", "train", 60 + number)


def held_out_text_in_another_language(tables: Tables) -> None:
    texts = tables["texts"]
    held_out = texts.loc[p.rows_of(texts, split="test_keyword", lang="en")[0], "text"]
    p.add_text(tables, texts["item_id"][0], "de", held_out, "train")


def same_picture_twice(tables: Tables) -> None:
    """Two train items that are drawn alike, as some flags are."""
    images = tables["images"]
    labels = p.rows_of(images, style="google", split="train")[:2]
    p.replace_pictures(tables, labels, images.at[labels[0], "image"])


def longer_utterances(tables: Tables) -> None:
    """Words and signs after the last slot; the queries made of them follow."""
    utterances = tables["utterances"]
    utterances["text"] = [f"{text} (x{number})" for number, text in enumerate(utterances["text"])]
    longer = utterances.loc[p.rows_of(utterances, split="test"), "text"].to_list()
    asked = tables["queries"]["task"] == "intent_to_item"
    tables["queries"].loc[asked, "text"] = longer[: asked.sum()]


CLEAN: dict[str, Callable[[Tables], object]] = {
    "as it is": lambda t: None,
    "shuffled rows": shuffle_rows,
    "half of the items": lambda t: only_items(t, lambda item: int(item, 16) % 2 == 0),
    "four categories": lambda t: only_items(t, lambda item: item[2] in "0123"),
    "text-only items": lambda t: without_pictures(t, lambda images: images["item_id"].str.endswith("3")),
    "one trained style missing": lambda t: without_pictures(t, lambda images: images["style"] == "twitter"),
    "unseen style missing": lambda t: without_pictures(t, lambda images: images["style"] == "openmoji"),
    "style of some items missing": lambda t: without_pictures(
        t, lambda images: (images["style"] == "google") & images["item_id"].str.endswith("1")
    ),
    "JPEG pictures": lambda t: all_pictures_as(t, "JPEG", 64),
    "WebP pictures": lambda t: all_pictures_as(t, "WEBP", 72),
    "no descriptions": lambda t: without_roles(t, "description"),
    "no keywords": lambda t: without_roles(t, "keyword"),
    "no attributes": without_attributes,
    "no composed queries": lambda t: without_queries(t, "composed_to_image"),
    "graded relevance": graded_relevance,
    "a text of many items": text_of_two_items,
    "a held-out word in another language": held_out_text_in_another_language,
    "two items drawn alike": same_picture_twice,
    "longer utterances": longer_utterances,
}

FEW_BAD: dict[str, tuple[Callable[[Tables], object], dict[str, int]]] = {
    # name: what is spoilt, how many rows of each table are taken out
    "two broken pictures": (
        lambda t: p.replace_pictures(t, p.rows_of(t["images"], style="openmoji")[:2], b"not a picture"),
        {"images": 2},
    ),
    "the picture of a query": (
        lambda t: p.set_column(t, "images", "sha256", "0" * 64, slice(0, 1)),
        {"images": 1, "queries": 1, "qrels": 1},
    ),
    "some null texts": (
        lambda t: p.set_column(t, "texts", "text", None, p.rows_of(t["texts"], role="description")[:5]),
        {"texts": 5},
    ),
    "an orphan qrel": (
        lambda t: p.set_column(t, "qrels", "query_id", "gone", slice(500, 501)),
        {"qrels": 1, "queries": 1},
    ),
    "a bad span": (lambda t: p.set_slots(t, {"end": 400}, 1), {"utterances": 1}),
}


@pytest.mark.parametrize("name", CLEAN)
def test_clean_variant_passes_untouched(
    name: str, tables: Tables, params: Params, prepared: Callable[[Tables], Path]
) -> None:
    CLEAN[name](tables)
    root = prepared(tables)
    run(params, root)
    source, target = root / "data" / "prepared", root / "data" / "validated"
    assert {file.name for file in target.iterdir()} == {file.name for file in source.iterdir()} | {"quarantine.parquet"}
    for file in source.iterdir():
        assert (target / file.name).read_bytes() == file.read_bytes()
    assert len(pd.read_parquet(target / "quarantine.parquet")) == 0


def test_fewer_languages_pass(tables: Tables, params: Params, prepared: Callable[[Tables], Path]) -> None:
    for name in ("texts", "queries", "utterances"):
        p.drop(tables, name, p.rows_of(tables[name], lang="ru"))
    p.drop(tables, "qrels", tables["qrels"].index[~tables["qrels"]["query_id"].isin(tables["queries"]["query_id"])])
    languages = [lang for lang in params.prepare.languages if lang != "ru"]
    prepare = params.prepare.model_copy(update={"languages": languages})
    root = prepared(tables)
    run(params.model_copy(update={"prepare": prepare}), root)
    assert table_files(root / "data" / "validated", "texts")


@pytest.mark.parametrize("name", FEW_BAD)
def test_few_bad_rows_are_quarantined_with_their_dependants(
    name: str, tables: Tables, params: Params, prepared: Callable[[Tables], Path]
) -> None:
    spoil, taken_out = FEW_BAD[name]
    spoil(tables)
    root = prepared(tables)
    run(params, root)
    quarantine = pd.read_parquet(root / "data" / "validated" / "quarantine.parquet")
    assert quarantine["table"].value_counts().to_dict() == taken_out
    assert quarantine["reasons"].map(len).min() >= 1
    for table, frame in tables.items():
        clean = read_table(root / "data" / "validated", table)
        assert len(clean) == len(frame) - taken_out.get(table, 0)
        if table not in taken_out:
            file = table_files(root / "data" / "prepared", table)[0].name
            assert (root / "data" / "validated" / file).read_bytes() == (root / "data" / "prepared" / file).read_bytes()


def test_shuffling_rows_changes_no_figure(tables: Tables, params: Params, prepared: Callable[[Tables], Path]) -> None:
    metrics = Path("metrics") / "validation.json"
    root = prepared(tables)
    run(params, root)
    before = (root / metrics).read_bytes()
    shuffle_rows(tables)
    prepared(tables)
    run(params, root)
    assert (root / metrics).read_bytes() == before
