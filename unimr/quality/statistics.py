"""Checks of whole tables: each returns a verdict with its figures.

They find what no single row shows: texts or pictures assigned to the wrong items, floods of copies, languages that are
nearly empty, labels that a split lacks. Where fewer than `min_rows` rows (or items) bear on a figure, it is not judged.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from unimr.data.text import forms
from unimr.quality.catalogue import Catalogue
from unimr.quality.rows import Limits


@dataclass(frozen=True)
class Verdict:
    """Whether the table passes, the figures, and what is wrong in words (empty when nothing is)."""

    numbers: dict[str, float | int]
    problem: str

    @property
    def success(self) -> bool:
        """True when there is no problem."""
        return not self.problem


def _floor(numbers: dict[str, float], floor: float, what: str) -> Verdict:
    """Every figure has to reach `floor`; `what` says in words what it means when one does not."""
    low = {key: value for key, value in numbers.items() if value < floor}
    worst = sorted(low, key=low.__getitem__)[:3]
    problem = "; ".join(f"{key}: {low[key]:.3f}" for key in worst)
    rounded = {key: round(float(value), 4) for key, value in numbers.items()}
    return Verdict(rounded, f"{what} (at least {floor} is expected) {problem}" if low else "")


def _auc(higher: NDArray[np.floating], lower: NDArray[np.floating]) -> float:
    """Share of pairs in which a value of `higher` exceeds one of `lower`, ties counted half (Mann-Whitney)."""
    ranked = np.sort(lower)
    wins = np.searchsorted(ranked, higher, "left") + np.searchsorted(ranked, higher, "right")
    return float(wins.mean() / 2 / len(ranked))


def _strangers(size: int) -> NDArray[np.int64]:
    """For each of `size` things another one, at random but always the same."""
    return np.random.default_rng(0).permutation(size)


def languages_are_filled(catalogue: Catalogue, limits: Limits) -> Verdict:
    """Every configured language has at least `min_rows` rows and `min_share` of the median language's, a split each.

    Limits: `table`; `splits`, the groups of splits to count (`[["train"], …]`); `untrained`, whether the languages
    that are never trained count too (over all their rows).
    """
    frame = catalogue.tables[limits["table"]]
    numbers: dict[str, float | int] = {}
    problems = []
    for splits in limits["splits"]:
        counts = frame[frame["split"].isin(splits)]["lang"].value_counts()
        of_trained = [int(counts.get(lang, 0)) for lang in catalogue.languages]
        least = max(limits["min_rows"], limits["min_share"] * float(np.median(of_trained)))
        found = dict(zip(catalogue.languages, of_trained, strict=True))
        if limits["untrained"] and "untrained" in splits:
            found |= {lang: int(counts.get(lang, 0)) for lang in catalogue.untrained_languages}
        numbers |= {f"{lang} {'+'.join(splits)}": count for lang, count in found.items()}
        problems += [f"{lang} has {n} rows in {'+'.join(splits)}" for lang, n in found.items() if n < least]
    return Verdict(numbers, "; ".join(problems[:5]) and f"empty or nearly empty: {'; '.join(problems[:5])}")


def texts_are_not_flooded(catalogue: Catalogue, limits: Limits) -> Verdict:
    """No text belongs to more than `max_items_share` of a language's items; names hardly ever repeat."""
    texts = catalogue.tables["texts"].assign(form=catalogue.forms["texts"])
    names = texts[texts["role"] == "name"]
    repeated = float(names.duplicated(["lang", "form"], keep=False).mean()) if len(names) else 0.0
    items = texts.groupby("lang")["item_id"].nunique()
    shares = texts.groupby(["lang", "form"])["item_id"].nunique()
    shares = (shares / items.reindex(shares.index.get_level_values(0)).to_numpy())[
        (items.reindex(shares.index.get_level_values(0)) >= limits["min_rows"]).to_numpy()
    ]
    widest = float(shares.max()) if len(shares) else 0.0
    problems = []
    if widest > limits["max_items_share"]:
        lang, form = shares.idxmax()
        problems.append(f"{form!r} ({lang}) is a text of {widest:.0%} of the items")
    if repeated > limits["max_repeated_names"]:
        problems.append(f"{repeated:.1%} of the names are names of several items")
    return Verdict({"widest text": round(widest, 4), "repeated names": round(repeated, 4)}, "; ".join(problems))


def utterances_are_not_flooded(catalogue: Catalogue, limits: Limits) -> Verdict:
    """At most `max_repeated_share` of a split's utterances are copies of another one of the split."""
    utterances = catalogue.tables["utterances"].assign(form=catalogue.forms["utterances"])
    copies = utterances.duplicated(["split", "lang", "form"])
    shares = {str(split): float(share) for split, share in copies.groupby(utterances["split"]).mean().items()}
    high = [
        f"{share:.1%} of {split} are copies" for split, share in shares.items() if share > limits["max_repeated_share"]
    ]
    return Verdict({split: round(share, 4) for split, share in shares.items()}, "; ".join(high))


def pictures_are_not_flooded(catalogue: Catalogue, limits: Limits) -> Verdict:
    """At most `max_shared_share` of a style's pictures are, byte for byte, also another item's in that style."""
    images = catalogue.tables["images"].assign(real=catalogue.pictures.map(lambda picture: picture.sha256))
    owners = images.groupby(["style", "real"])["item_id"].transform("nunique")
    shares = {str(style): float(share) for style, share in (owners > 1).groupby(images["style"]).mean().items()}
    high = [f"{share:.1%} of {style}" for style, share in shares.items() if share > limits["max_shared_share"]]
    problem = f"several items share one picture: {'; '.join(high)}" if high else ""
    return Verdict({style: round(share, 4) for style, share in shares.items()}, problem)


def names_fit_keywords(catalogue: Catalogue, limits: Limits) -> Verdict:
    """In every language, at least `floor` of the items have a name that shares a term with their keywords."""
    numbers = {}
    for lang in _languages(catalogue):
        names, keywords = catalogue.terms.get((lang, "name"), {}), catalogue.terms.get((lang, "keyword"), {})
        shared = [bool(names[item] & keywords[item]) for item in names if item in keywords]
        if len(shared) >= limits["min_rows"]:
            numbers[lang] = float(np.mean(shared))
    return _floor(numbers, limits["floor"], "share of items whose name and keywords have a word in common")


def texts_fit_categories(catalogue: Catalogue, limits: Limits) -> Verdict:
    """In every language, keywords of items of one subcategory are more alike than keywords of any two items.

    The figure is the probability of that for two pairs drawn at random (0.5: assigned at random).
    """
    groups = _subcategories(catalogue)
    numbers = {}
    for lang in _languages(catalogue):
        terms = catalogue.terms.get((lang, "keyword"), {})
        items = sorted((item for item in terms if item in groups), key=lambda item: (groups[item], item))
        near = [_overlap(terms[a], terms[b]) for a, b in pairwise(items) if groups[a] == groups[b]]
        far = [_overlap(terms[a], terms[items[b]]) for a, b in zip(items, _strangers(len(items)), strict=True)]
        if len(near) >= limits["min_rows"]:
            numbers[lang] = _auc(np.array(near), np.array(far))
    return _floor(numbers, limits["floor"], "how much more alike the keywords of one subcategory are")


def _subcategories(catalogue: Catalogue) -> dict[str, tuple[str, str]]:
    """Base item → its category and subcategory, where its picture states them."""
    images = catalogue.tables["images"].drop_duplicates("item_id")
    return {
        item: (attributes["category"], attributes.get("subcategory", ""))
        for item, attributes in zip(images["item_id"], images["attributes"], strict=True)
        if isinstance(attributes, dict) and "category" in attributes and attributes.get("base", item) == item
    }


def _languages(catalogue: Catalogue) -> tuple[str, ...]:
    return (*catalogue.languages, *catalogue.untrained_languages)


def _overlap(left: frozenset[str], right: frozenset[str]) -> float:
    return len(left & right) / max(1, len(left | right))


def texts_are_in_their_script(catalogue: Catalogue, limits: Limits) -> Verdict:
    """In every language with an entry in `scripts` (a character range), at least `floor` of the texts use it."""
    texts = catalogue.tables["texts"]
    numbers = {}
    for lang, script in limits["scripts"].items():
        of_lang = texts.loc[(texts["lang"] == lang) & texts["text"].notna(), "text"]
        if len(of_lang) >= limits["min_rows"]:
            numbers[lang] = float(of_lang.str.contains(f"[{script}]", regex=True).mean())
    return _floor(numbers, limits["floor"], "share of texts in the script of their language")


def styles_agree(catalogue: Catalogue, limits: Limits) -> Verdict:
    """Two trained styles of one item are more alike than those of different items (0.5: assigned at random)."""
    images = catalogue.tables["images"].assign(picture=catalogue.pictures)
    trained = images[(images["split"] == "train") & images["picture"].map(lambda picture: not picture.problem)]
    by_style = {
        str(style): rows.drop_duplicates("item_id").set_index("item_id")["picture"]
        for style, rows in trained.groupby("style")
    }
    numbers = {}
    for left, right in combinations(sorted(by_style), 2):
        items = sorted(by_style[left].index.intersection(by_style[right].index))
        if len(items) >= limits["min_rows"]:
            mine, theirs = (
                np.stack([picture.colours for picture in by_style[style][items]]) for style in (left, right)
            )
            others = theirs[_strangers(len(items))]
            distance, chance = (np.abs(mine - found).mean((1, 2)) for found in (theirs, others))
            numbers[f"{left} and {right}"] = _auc(-distance, -chance)
    return _floor(numbers, limits["floor"], "how much more alike two pictures of one item are")


def qrels_fit_texts(catalogue: Catalogue, limits: Limits) -> Verdict:
    """In the `tasks` that ask with an item's own text, at least `floor` of the qrels point to an item that has it."""
    queries = catalogue.tables["queries"].assign(form=catalogue.forms["queries"])
    texts = catalogue.tables["texts"].assign(form=catalogue.forms["texts"])
    known = set(zip(texts["item_id"], texts["lang"], texts["form"], strict=True))
    joined = catalogue.tables["qrels"].merge(queries, on="query_id")
    numbers = {}
    for task, rows in joined[joined["task"].isin(limits["tasks"])].groupby("task"):
        if len(rows) >= limits["min_rows"]:
            keys = zip(rows["item_id"], rows["lang"], rows["form"], strict=True)
            numbers[str(task)] = float(np.mean([key in known for key in keys]))
    return _floor(numbers, limits["floor"], "share of relevant items that have the query among their texts")


def subjects_fit_items(catalogue: Catalogue, limits: Limits) -> Verdict:
    """In every language, at least `floor` of the utterances with an item name it as their subject."""
    utterances = catalogue.tables["utterances"]
    rows = utterances[utterances["item_id"].notna() & utterances["text"].notna()]
    found: dict[str, list[bool]] = defaultdict(list)
    for lang, text, item, slots in zip(rows["lang"], rows["text"], rows["item_id"], rows["slots"], strict=True):
        terms = {term for role in ("name", "keyword") for term in catalogue.terms.get((lang, role), {}).get(item, ())}
        subjects = [text[slot["start"] : slot["end"]] for slot in slots or () if slot["label"] == "subject"]
        found[lang].append(bool(subjects) and not terms.isdisjoint(forms(subjects[0])))
    numbers = {lang: float(np.mean(hits)) for lang, hits in sorted(found.items()) if len(hits) >= limits["min_rows"]}
    return _floor(numbers, limits["floor"], "share of utterances whose subject is a text of their item")


def labels_are_in_each_split(catalogue: Catalogue, limits: Limits) -> Verdict:
    """Each of the `intents` and slot `labels` occurs in train and test, and no intent takes over (`max_share`)."""
    utterances = catalogue.tables["utterances"]
    numbers: dict[str, float | int] = {}
    problems = []
    for split in ("train", "test"):
        rows = utterances[utterances["split"] == split]
        intents = rows["intent"].value_counts()
        slots = pd.Series([slot["label"] for of_row in rows["slots"] for slot in of_row or ()], dtype=object)
        labels = slots.value_counts()
        for name, counts in [(i, intents) for i in limits["intents"]] + [(s, labels) for s in limits["labels"]]:
            numbers[f"{name} in {split}"] = int(counts.get(name, 0))
            if not counts.get(name, 0):
                problems.append(f"{split} has no {name}")
        problems += [
            f"{share:.0%} of {split} is {intent}"
            for intent, share in (intents / max(1, len(rows))).items()
            if share > limits["max_share"]
        ]
    return Verdict(numbers, "; ".join(problems))
