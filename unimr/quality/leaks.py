"""Proof that nothing of a test split is in train: row checks whose failure is always fatal.

The rows that fail are those of train (or the query), and the reason names what they give away.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from unimr.data.lookalikes import close_pairs
from unimr.quality.catalogue import Catalogue
from unimr.quality.rows import Failing, Limits


def _keys(catalogue: Catalogue, table: str) -> pd.Series:
    """`language|normalised text` a row; null where there is no text."""
    forms = catalogue.forms[table]
    return (catalogue.tables[table]["lang"] + "|" + forms).where(forms != "")


def _shared(train: pd.Series, test: pd.Series, what: str) -> Failing:
    """Rows of `train` whose key occurs in `test`."""
    held_out = set(test.dropna())
    return {label: f"{key!r} is also {what}" for label, key in train[train.isin(held_out)].items()}


def no_text_in_train_and_test(catalogue: Catalogue, _limits: Limits) -> Failing:
    """No text of train is, after normalisation, a text of a test split in the same language."""
    keys, splits = _keys(catalogue, "texts"), catalogue.tables["texts"]["split"]
    return _shared(keys[splits == "train"], keys[splits.str.startswith("test", na=False)], "a text of a test split")


def no_utterance_in_train_and_test(catalogue: Catalogue, _limits: Limits) -> Failing:
    """No utterance of train is one of test in the same language."""
    keys, splits = _keys(catalogue, "utterances"), catalogue.tables["utterances"]["split"]
    return _shared(keys[splits == "train"], keys[splits == "test"], "an utterance of test")


def query_is_no_train_utterance(catalogue: Catalogue, limits: Limits) -> Failing:
    """No query of the `tasks` is an utterance of train in the same language."""
    utterances = catalogue.tables["utterances"]
    asked = catalogue.tables["queries"]["task"].isin(limits["tasks"])
    train = _keys(catalogue, "utterances")[utterances["split"] == "train"]
    return _shared(_keys(catalogue, "queries")[asked], train, "an utterance of train")


def query_is_no_train_text(catalogue: Catalogue, limits: Limits) -> Failing:
    """No query of the `tasks`, which ask for what was never seen, is a text of train in the same language."""
    asked = catalogue.tables["queries"]["task"].isin(limits["tasks"])
    train = _keys(catalogue, "texts")[catalogue.tables["texts"]["split"] == "train"]
    return _shared(_keys(catalogue, "queries")[asked], train, "a text of train")


def item_is_in_one_split(catalogue: Catalogue, _limits: Limits) -> Failing:
    """Items of `test_item` have no picture in train, and no style of `unseen_styles` is trained."""
    images = catalogue.tables["images"]
    train = images[images["split"] == "train"]
    unseen = train[train["style"].isin(catalogue.unseen_styles)]
    held_out = train[train["item_id"].isin(_test_items(catalogue))]
    return {
        **{label: f"the style {style!r} is never trained" for label, style in unseen["style"].items()},
        **{label: f"the item {item!r} is held out for test" for label, item in held_out["item_id"].items()},
    }


def item_text_is_in_one_split(catalogue: Catalogue, _limits: Limits) -> Failing:
    """No train text of an item of `test_item`, of a pair of `test_pair`, or in a language that is never trained."""
    texts = catalogue.tables["texts"]
    train = texts[texts["split"] == "train"]
    pairs = texts["item_id"] + "|" + texts["lang"]
    of_pairs = train[pairs[train.index].isin(set(pairs[texts["split"] == "test_pair"]))]
    of_items = train[train["item_id"].isin(_test_items(catalogue))]
    untrained = train[train["lang"].isin(catalogue.untrained_languages)]
    return {
        **{label: f"{pairs[label]!r} is a pair that is held out for test" for label in of_pairs.index},
        **{label: f"the item {item!r} is held out for test" for label, item in of_items["item_id"].items()},
        **{label: f"{lang!r} is never trained" for label, lang in untrained["lang"].items()},
    }


def _test_items(catalogue: Catalogue) -> set[str]:
    frames = (catalogue.tables["images"], catalogue.tables["texts"])
    return {item for frame in frames for item in frame.loc[frame["split"] == "test_item", "item_id"].dropna()}


def train_utterance_gives_no_name_away(catalogue: Catalogue, _limits: Limits) -> Failing:
    """No utterance of train asks for an item of `test_item`, or in a language for a pair of `test_pair`."""
    texts, utterances = catalogue.tables["texts"], catalogue.tables["utterances"]
    train = utterances[(utterances["split"] == "train") & utterances["item_id"].notna()]
    pairs = set((texts["item_id"] + "|" + texts["lang"])[texts["split"] == "test_pair"])
    items = _test_items(catalogue)
    leaking = train[train["item_id"].isin(items) | (train["item_id"] + "|" + train["lang"]).isin(pairs)]
    return {label: f"the item {item!r} is held out for test" for label, item in leaking["item_id"].items()}


def no_picture_in_train_and_test(catalogue: Catalogue, _limits: Limits) -> Failing:
    """No picture of train has the SHA-256 (of its real bytes) of a picture of a test split."""
    images = catalogue.tables["images"]
    hashes = catalogue.pictures.map(lambda picture: picture.sha256 or None)
    test = hashes[images["split"].str.startswith("test", na=False)].dropna()
    first = dict(zip(reversed(test.tolist()), reversed(test.index.tolist()), strict=True))
    train = hashes[images["split"] == "train"]
    return {
        label: f"the same bytes as {images['image_id'][first[value]]} of {images['split'][first[value]]}"
        for label, value in train.items()
        if value in first
    }


def no_lookalike_in_train_and_test(catalogue: Catalogue, limits: Limits) -> Failing:
    """No picture of train is one of a test split saved anew: smaller, as JPEG, with other metadata.

    Two pictures are the same when their perceptual hashes differ by less than `max_luminance` in every cell, and on
    average by less than `mean_luminance` and `mean_colour` (in 1/255). Measured on the emoji catalogue with 8, 2 and 4:
    99 % of the copies are found that were scaled to 48…128 pixels or saved as JPEG (quality 75 and more) or WebP, and
    different families of items come as close in four pairs only, whose drawings are the same but for a hair.
    """
    images, pictures = catalogue.tables["images"], catalogue.pictures
    sound = pictures.map(lambda picture: not picture.problem)
    train = images.index[(images["split"] == "train") & sound]
    test = images.index[images["split"].str.startswith("test", na=False) & sound]
    failing: Failing = {}
    if not len(train) or not len(test):
        return failing
    of_train, of_test = (np.stack([picture.colours for picture in pictures[labels]]) for labels in (train, test))
    for mine, theirs in close_pairs(of_train, of_test, limits):
        label, other = train[mine], test[theirs]
        if pictures[label].sha256 != pictures[other].sha256:
            failing[label] = f"looks the same as {images['image_id'][other]} of {images['split'][other]}"
    return failing
