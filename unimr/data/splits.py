"""How a split is decided: by a hash of the id of the item, the (item, language) pair or the keyword.

Nothing else enters the decision, so that a split never changes when data is added. What is decided for a base item
holds for all its variants. Afterwards the rule is enforced on the texts themselves: no text of a test split may stand
in train in the same language after normalisation.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from unimr.data.items import Item, ItemText
from unimr.data.text import normalise
from unimr.params import PrepareParams

PIVOT = "en"
"""The language whose names are the text gallery; its pairs are never held out."""


def hash_share(*parts: str | int) -> float:
    """A number in [0, 1) that depends on the parts alone (BLAKE2b)."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


@dataclass(frozen=True)
class SplitText:
    """A text of an item with the split it belongs to."""

    item_id: str
    text: ItemText
    split: str


def item_split(params: PrepareParams, base_id: str) -> str:
    """`test_item` or `train`, for an item and all its variants."""
    return "test_item" if hash_share(params.split_seed, "item", base_id) < params.test_share.item else "train"


def picture_split(params: PrepareParams, base_id: str, style: str) -> str:
    """`test_style` for a style that is never trained, else the split of the item."""
    return "test_style" if style in params.unseen_styles else item_split(params, base_id)


def text_split(params: PrepareParams, base_id: str, lang: str) -> str:
    """Split of the texts of an item and its variants in one language, before keywords are held out."""
    if lang in params.untrained_languages:
        return "untrained"
    split = item_split(params, base_id)
    held_out = hash_share(params.split_seed, "pair", base_id, lang) < params.test_share.pair
    return "test_pair" if split == "train" and lang != PIVOT and held_out else split


def split_texts(params: PrepareParams, items: Sequence[Item]) -> list[SplitText]:
    """Give every name and keyword its split, and drop what would leak.

    A train text equal to a held-out name or keyword in the same language is dropped; a keyword of a held-out item or
    pair that other train items share is dropped as well, since it would be no test. Untrained languages keep all.
    """
    rows = [
        SplitText(item.item_id, text, text_split(params, item.base_id, text.lang))
        for item in items
        for text in item.texts
    ]
    words = [normalise(row.text.text) for row in rows]
    names: dict[str, set[str]] = defaultdict(set)
    held_out_names: dict[str, set[str]] = defaultdict(set)
    for row, word in zip(rows, words, strict=True):
        if row.text.role == "name":
            names[row.text.lang].add(word)
            if row.split in ("test_item", "test_pair"):
                held_out_names[row.text.lang].add(word)
    rows = [_hold_out_keyword(params, row, word, names[row.text.lang]) for row, word in zip(rows, words, strict=True)]
    return list(_without_leaks(rows, words, held_out_names))


def _hold_out_keyword(params: PrepareParams, row: SplitText, word: str, names: set[str]) -> SplitText:
    """A keyword is held out for all items at once, unless it is also a name."""
    if row.split != "train" or row.text.role != "keyword" or word in names:
        return row
    held_out = hash_share(params.split_seed, "keyword", row.text.lang, word) < params.test_share.keyword
    return SplitText(row.item_id, row.text, "test_keyword") if held_out else row


def _without_leaks(rows: list[SplitText], words: list[str], held_out_names: dict[str, set[str]]) -> Iterable[SplitText]:
    train: dict[str, set[str]] = defaultdict(set)
    for row, word in zip(rows, words, strict=True):
        if row.split == "train" and word not in held_out_names[row.text.lang]:
            train[row.text.lang].add(word)
    for row, word in zip(rows, words, strict=True):
        in_train = word in train[row.text.lang]
        if (row.split == "train" and in_train) or (row.split != "train" and not in_train) or row.split == "untrained":
            yield row
