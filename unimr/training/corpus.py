"""The texts a stage trains on: distinct strings with the items they belong to, cut into words once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from unimr.data.tables import item_attributes, read_table
from unimr.data.text import normalise
from unimr.model.tokenizer import NgramTokenizer

ROLE_SHARES = {"name": 0.45, "variant": 0.1, "keyword": 0.3, "description": 0.05, "utterance": 0.1}
"""Share of each role in a batch; roles that the tables lack leave theirs to the others.

`variant` is the name of a variant (a skin tone): as many as names, but made of few words, so fewer are enough.
"""

WORD_DROPOUT = 0.1
"""Share of words left out of a text at random, as long as one stays."""


@dataclass(frozen=True)
class Items:
    """The items that are trained, in the order of their proxies, and which of them are variants of another."""

    item_ids: list[str]
    variants: frozenset[str]

    @classmethod
    def read(cls, tables: Path) -> Items:
        """The items with train pictures."""
        images = read_table(tables, "images", ["item_id", "attributes", "split"])
        bases = item_attributes(images[images["split"] == "train"])
        variants = (item_id for item_id, found in bases.items() if found.get("base", item_id) != item_id)
        return cls(sorted(bases), frozenset(variants))


class TextCorpus:
    """Distinct train texts of items, grouped by role.

    A text that several items share is one entry with several positives. Where the same text is also the name or
    keyword of further items, in another role or language, these are left out of its negatives.
    """

    def __init__(
        self,
        texts: pd.DataFrame,
        utterances: pd.DataFrame,
        item_ids: Sequence[str],
        tokenizer: NgramTokenizer,
        variants: Collection[str] = (),
    ) -> None:
        self.item_ids = list(item_ids)
        self.tokenizer = tokenizer
        number = {item_id: place for place, item_id in enumerate(self.item_ids)}
        positives: dict[tuple[str, str, str], list[int]] = defaultdict(list)
        for role, lang, text, item_id in _rows(texts, utterances):
            if item_id in number:
                variant = role == "name" and item_id in variants
                positives["variant" if variant else role, lang, text].append(number[item_id])
        self.texts = [text for _, _, text in positives]
        self.words = [tokenizer.words(text) for text in self.texts]
        self.positives = [np.unique(found) for found in positives.values()]
        everywhere: dict[str, set[int]] = defaultdict(set)
        for (_, _, text), found in positives.items():
            everywhere[text].update(found)
        self.excluded = [
            np.array(sorted(everywhere[text] - set(found)), dtype=np.int64) for (_, _, text), found in positives.items()
        ]
        roles = np.array([role for role, _, _ in positives])
        self._of_role = {role: np.flatnonzero(roles == role) for role in ROLE_SHARES if (roles == role).any()}

    def sample(self, size: int, rng: np.random.Generator) -> np.ndarray:
        """Draw text numbers for one batch `[size]`, by the shares of the roles."""
        shares = np.array([ROLE_SHARES[role] for role in self._of_role])
        counts = rng.multinomial(size, shares / shares.sum())
        draws = [rng.choice(rows, count) for rows, count in zip(self._of_role.values(), counts, strict=True)]
        return np.concatenate(draws)

    def dropped(self, number: int, rng: np.random.Generator) -> np.ndarray:
        """Words of a text with some left out at random."""
        words = self.words[number]
        if len(words) == 1:
            return words
        kept = words[rng.random(len(words)) >= WORD_DROPOUT]
        return kept if len(kept) else words[:1]

    def targets(self, numbers: np.ndarray) -> torch.Tensor:
        """Share of each item in each text, -1 where it is no negative either `[batch, items]`."""
        targets = np.zeros((len(numbers), len(self.item_ids)), dtype=np.float32)
        for row, number in enumerate(numbers):
            targets[row, self.excluded[number]] = -1
            targets[row, self.positives[number]] = 1 / len(self.positives[number])
        return torch.from_numpy(targets)


def _rows(texts: pd.DataFrame, utterances: pd.DataFrame) -> list[tuple[str, str, str, str]]:
    train = texts[texts["split"] == "train"]
    rows = [
        (role, lang, normalise(text), item_id)
        for role, lang, text, item_id in zip(train["role"], train["lang"], train["text"], train["item_id"], strict=True)
    ]
    asked = utterances[(utterances["split"] == "train") & utterances["item_id"].notna()]
    return rows + [
        ("utterance", lang, text, item_id)
        for lang, text, item_id in zip(asked["lang"], asked["text"], asked["item_id"], strict=True)
    ]


def ngram_idf(words: Sequence[np.ndarray], buckets: int) -> torch.Tensor:
    """Inverse document frequency of every n-gram bucket among the distinct words `[buckets]`.

    ln((1 + words) / (1 + words with it)) + 1, the smoothed form of scikit-learn.
    """
    counts = np.bincount(np.concatenate([np.unique(found) for found in words]), minlength=buckets)
    return torch.from_numpy(np.log((1 + len(words)) / (1 + counts)) + 1).float()
