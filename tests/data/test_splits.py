from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unimr.data.splits import hash_share, item_split, picture_split, split_texts, text_split
from unimr.data.text import normalise

from .small_sources import item, prepare_params

WORDS = st.sampled_from(
    ["cat", "Cat", "dog", "sun", "Sun ", "star", "moon", "red", "blue", "tree", "ＣＡＴ", "猫", "犬"]
)
TEXTS = st.lists(
    st.tuples(st.sampled_from(["en", "de", "zh", "sw"]), st.sampled_from(["name", "keyword"]), WORDS), max_size=8
)
ITEMS = st.lists(TEXTS, min_size=1, max_size=12).map(
    lambda found: [item(f"item{number}", *texts) for number, texts in enumerate(found)]
)
SHARES = prepare_params().test_share.model_copy(update={"item": 0.3, "pair": 0.3, "keyword": 0.3})


@pytest.mark.parametrize(
    ("parts", "share"),
    [
        ((20, "item", "1f44b"), 0.467110),
        ((20, "pair", "1f44b", "de"), 0.178350),
        (("composed", "1f44b"), 0.349463),
    ],
)
def test_the_hash_stays_what_it_was(parts, share):
    assert hash_share(*parts) == pytest.approx(share, abs=1e-6)


def test_parts_are_kept_apart():
    assert hash_share("ab", "c") != hash_share("a", "bc")


def test_shares_are_about_as_asked():
    held_out = [item_split(prepare_params(), f"item {n}") == "test_item" for n in range(4000)]
    assert 0.04 < sum(held_out) / len(held_out) < 0.065


@settings(deadline=None)
@given(st.text(min_size=1, max_size=8), st.integers(0, 50))
def test_a_family_is_in_one_split(base, seed):
    params = prepare_params(split_seed=seed, test_share=SHARES)
    family = [item(f"{base}-{tone}", ("de", "name", f"name {tone}"), base=base) for tone in "abc"]
    assert len({row.split for row in split_texts(params, family)}) == 1
    assert {picture_split(params, each.base_id, "google") for each in family} == {item_split(params, base)}


def test_an_unseen_style_is_always_for_test():
    params = prepare_params(unseen_styles=["openmoji"])
    assert {picture_split(params, f"item {n}", "openmoji") for n in range(50)} == {"test_style"}


def test_the_pivot_language_has_no_held_out_pairs():
    params = prepare_params(test_share=SHARES)
    assert "test_pair" not in {text_split(params, f"item {n}", "en") for n in range(200)}
    assert "test_pair" in {text_split(params, f"item {n}", "de") for n in range(200)}


@settings(max_examples=150, deadline=None)
@given(ITEMS, st.integers(0, 1000))
def test_no_text_of_a_test_split_is_in_train(items, seed):
    rows = split_texts(prepare_params(split_seed=seed, test_share=SHARES), items)
    texts: dict[bool, set[tuple[str, str]]] = defaultdict(set)
    for row in rows:
        if row.split != "untrained":
            texts[row.split == "train"].add((row.text.lang, normalise(row.text.text)))
    assert not texts[True] & texts[False]


@settings(max_examples=50, deadline=None)
@given(ITEMS, st.integers(0, 1000))
def test_untrained_languages_keep_every_text(items, seed):
    rows = split_texts(prepare_params(split_seed=seed, test_share=SHARES, untrained_languages=["sw"]), items)
    assert [row.text for row in rows if row.split == "untrained"] == [
        text for each in items for text in each.texts if text.lang == "sw"
    ]


def test_a_keyword_is_held_out_for_all_items_at_once():
    params = prepare_params(test_share=SHARES.model_copy(update={"item": 0.0, "pair": 0.0}))
    words = [f"word{n}" for n in range(40)]
    items = [item(f"i{n}", ("en", "name", f"name{n}"), *[("en", "keyword", word) for word in words]) for n in range(3)]
    splits: dict[str, set[str]] = defaultdict(set)
    for row in split_texts(params, items):
        if row.text.role == "keyword":
            splits[row.text.text].add(row.split)
    assert {len(found) for found in splits.values()} == {1}
    assert {"train"} in splits.values() and {"test_keyword"} in splits.values()
