"""The texts a stage trains on: distinct strings with the items they belong to, cut into words once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from unimr.data.mixture import draw_shares
from unimr.data.splits import PIVOT
from unimr.data.tables import item_attributes, read_table
from unimr.data.text import normalise
from unimr.model.tokenizer import Tokenizer

ROLE_SHARES = {"name": 0.45, "variant": 0.1, "keyword": 0.3, "description": 0.05, "utterance": 0.1}
"""Share of each role in a batch; roles that the tables lack leave theirs to the others.

`variant` is the name of a variant (a skin tone): as many as names, but made of few words, so fewer are enough.
"""

_NONE = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class Items:
    """The items that are trained, in the order of their proxies.

    Attributes:
        item_ids: all of them, those with a picture first.
        pictured: how many have a picture.
        variants: those that are a variant of another.
    """

    item_ids: list[str]
    pictured: int
    variants: frozenset[str]

    @classmethod
    def read(cls, tables: Path) -> Items:
        """The items with train pictures, then those that have train texts and never had a picture."""
        images = read_table(tables, "images", ["item_id", "attributes", "split"])
        bases = item_attributes(images[images["split"] == "train"])
        variants = (item_id for item_id, found in bases.items() if found.get("base", item_id) != item_id)
        texts = read_table(tables, "texts", ["item_id", "split"])
        of_texts = set(texts.loc[texts["split"] == "train", "item_id"]) - set(images["item_id"])
        return cls([*sorted(bases), *sorted(of_texts)], len(bases), frozenset(variants))


class TextCorpus:
    """Distinct train texts of items, grouped by role.

    A text that several items share is one entry with several positives. Where the same text is also the name or
    keyword of further items, in another role or language, these are left out of its negatives.

    Texts are drawn by the shares of their roles, or by the mixture in the folder `tables` if there is one.
    """

    def __init__(
        self,
        texts: pd.DataFrame,
        utterances: pd.DataFrame,
        item_ids: Sequence[str],
        tokenizer: Tokenizer,
        variants: Collection[str] = (),
        tables: Path | None = None,
    ) -> None:
        self.item_ids = list(item_ids)
        self.tokenizer = tokenizer
        number = {item_id: place for place, item_id in enumerate(self.item_ids)}
        positives: dict[tuple[str, str, str], list[int]] = defaultdict(list)
        for role, lang, text, item_id in _rows(texts, utterances):
            if item_id in number:
                variant = role == "name" and item_id in variants
                positives["variant" if variant else role, lang, text].append(number[item_id])
        self.keys = list(positives)
        """Role, language and normalised text of every entry."""
        self.texts = [text for _, _, text in positives]
        self.words = [tokenizer.words(text) for text in self.texts]
        self.positives = [np.array(sorted(set(found)), dtype=np.int64) for found in positives.values()]
        everywhere: dict[str, set[int]] = defaultdict(set)
        for (_, _, text), found in positives.items():
            everywhere[text].update(found)
        self.excluded = [
            np.array(sorted(others), dtype=np.int64) if (others := everywhere[text].difference(found)) else _NONE
            for (_, _, text), found in positives.items()
        ]
        owners = [self.item_ids[found[0]] for found in self.positives]
        self._shares = draw_shares(tables, owners, [lang for _, lang, _ in positives]) if tables else None
        roles = np.array([role for role, _, _ in positives])
        self._of_role = {role: np.flatnonzero(roles == role) for role in ROLE_SHARES if (roles == role).any()}

    def sample(self, size: int, rng: np.random.Generator) -> np.ndarray:
        """Draw text numbers for one batch `[size]`."""
        if self._shares is not None:
            return drawn_by(self._shares, len(self.texts), size, rng)
        shares = np.array([ROLE_SHARES[role] for role in self._of_role])
        counts = rng.multinomial(size, shares / shares.sum())
        draws = [rng.choice(rows, count) for rows, count in zip(self._of_role.values(), counts, strict=True)]
        return np.concatenate(draws)

    @cached_property
    def _captions(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Numbers of the names and keywords of each item, and how often each of them is drawn."""
        numbers: list[list[int]] = [[] for _ in self.item_ids]
        for number in np.concatenate([self._of_role.get(role, _NONE) for role in ("name", "keyword")]).tolist():
            for item in self.positives[number].tolist():
                numbers[item].append(number)
        found = []
        for of_item in numbers:
            shares = np.ones(len(of_item)) if self._shares is None else self._shares[of_item]
            found.append((np.array(of_item), shares / max(shares.sum(), 1e-30)))
        return found

    def has_caption(self, item: int) -> bool:
        """Whether an item has a name or a keyword."""
        return len(self._captions[item][0]) > 0

    def caption(self, item: int, rng: np.random.Generator) -> int:
        """Number of a name or keyword of an item, drawn at random; languages are balanced as in `sample`."""
        numbers, shares = self._captions[item]
        return int(rng.choice(numbers, p=shares))

    @cached_property
    def english_names(self) -> dict[int, int]:
        """Item → number of its English name, for those that have one."""
        roles = ("name", "variant")
        named = [place for place, (role, lang, _) in enumerate(self.keys) if role in roles and lang == PIVOT]
        return {item: place for place in named for item in self.positives[place].tolist()}

    @cached_property
    def _english_captions(self) -> dict[int, list[int]]:
        """Item → numbers of its English names and keywords, for those that have some."""
        return {
            item: english
            for item, (numbers, _) in enumerate(self._captions)
            if (english := [number for number in numbers.tolist() if self.keys[number][1] == PIVOT])
        }

    def partners(self, numbers: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """An item of each text `[texts]`, and the number of another text of that item `[texts]`.

        That is an English name or keyword (a photograph's captions are both): what is near to the same third is near
        to each other. If there is no other than the text itself, one in any language is drawn; the text itself where
        that is all there is.
        """
        items = [int(rng.choice(self.positives[number])) for number in numbers]
        found = [self._partner(item, int(number), rng) for item, number in zip(items, numbers, strict=True)]
        return np.array(items, dtype=np.int64), np.array(found, dtype=np.int64)

    def _partner(self, item: int, number: int, rng: np.random.Generator) -> int:
        others = [each for each in self._english_captions.get(item, []) if each != number]
        if others:
            return others[int(rng.integers(len(others)))]
        return self.caption(item, rng) if self.has_caption(item) else number

    def related(self, numbers: np.ndarray, items: np.ndarray) -> torch.Tensor:
        """Whether each text belongs to each of these items, or its words do in another role `[texts, items]`."""
        of_texts = [np.union1d(self.positives[number], self.excluded[number]) for number in numbers]
        return torch.from_numpy(np.stack([np.isin(items, of_text) for of_text in of_texts]))

    def dropped(self, number: int, rng: np.random.Generator, word_dropout: float, window_words: int = 0) -> np.ndarray:
        """Words of a text, at most `window_words` in a row (0: all), with that share left out; one always stays."""
        words = self.words[number]
        if 0 < window_words < len(words):
            first = int(rng.integers(len(words) - window_words + 1))
            words = words[first : first + window_words]
        if len(words) == 1:
            return words
        kept = words[rng.random(len(words)) >= word_dropout]
        return kept if len(kept) else words[:1]

    def targets(self, numbers: np.ndarray) -> torch.Tensor:
        """Share of each item in each text, -1 where it is no negative either `[batch, items]`."""
        targets = np.zeros((len(numbers), len(self.item_ids)), dtype=np.float32)
        for row, number in enumerate(numbers):
            targets[row, self.excluded[number]] = -1
            targets[row, self.positives[number]] = 1 / len(self.positives[number])
        return torch.from_numpy(targets)


def drawn_by(shares: np.ndarray | None, count: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """`size` numbers below `count`, with replacement: each as likely as its share, or all alike."""
    return rng.integers(0, count, size) if shares is None else rng.choice(count, size, p=shares)


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
