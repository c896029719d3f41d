"""Annotated utterances from the grammars and the user's own, for training and testing query understanding."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from unimr.data.grammar import Grammar, Slot, Subject, Utterance, generate_utterances, load_grammar, slot_values
from unimr.data.items import Item
from unimr.data.own_lines import UtteranceContent
from unimr.data.splits import SplitText, hash_share, text_split
from unimr.data.tables import SCHEMAS
from unimr.data.text import forms, normalise, segment
from unimr.errors import UnimrError
from unimr.files import write_json
from unimr.params import PrepareParams

HELD_OUT = ("test_item", "test_pair", "test_keyword")
GRAMMAR_FOLDER = Path("data/sources/emoji/grammar")
OWN_TEST_SHARE = 0.2
"""Share of a user's own utterances that is kept for test."""


def load_grammars(params: PrepareParams, root: Path, own: Sequence[UtteranceContent]) -> dict[str, Grammar]:
    """Trained language → its grammar; one without a grammar must have utterances of the user's own.

    Raises:
        UnimrError: a language has neither.
    """
    paths = {lang: root / GRAMMAR_FOLDER / f"{lang}.yaml" for lang in params.languages}
    own_languages = {utterance.lang for utterance in own}
    for lang, path in paths.items():
        if not path.exists() and lang not in own_languages:
            known = ", ".join(sorted(file.stem for file in path.parent.glob("*.yaml")))
            raise UnimrError(
                f"prepare.languages: there is no grammar for the language {lang!r} ({path}), nor an imported utterance "
                f"in it. Known: {known}. Change prepare.languages in params.yaml."
            )
    return {lang: load_grammar(path) for lang, path in paths.items() if path.exists()}


def make_utterances(
    params: PrepareParams,
    grammars: Mapping[str, Grammar],
    items: Sequence[Item],
    texts: Sequence[SplitText],
    own: Sequence[UtteranceContent] = (),
) -> pd.DataFrame:
    """A row an utterance: the user's own, then those of the grammars, whose subjects are train names only."""
    rows = []
    item_ids = {None, *(item.item_id for item in items)}
    for lang in params.languages:
        held_out = {normalise(row.text.text) for row in texts if row.text.lang == lang and row.split in HELD_OUT}
        mine = [utterance for utterance in own if utterance.lang == lang and utterance.item_id in item_ids]
        splits = [_own_split(params, utterance, items, held_out) for utterance in mine]
        rows += [_own_row(utterance, splits[number], number) for number, utterance in enumerate(mine)]
        if lang in grammars:
            seen = {normalise(utterance.text) for utterance in mine}
            rows += _made_rows(params, grammars[lang], _subjects(lang, items, texts), seen, held_out)
    return pd.DataFrame(rows, columns=SCHEMAS["utterances"].names)


def _made_rows(
    params: PrepareParams, grammar: Grammar, subjects: Sequence[Subject], seen: set[str], held_out: set[str]
) -> list[dict[str, object]]:
    """Utterances of one language's grammar. Those of test use productions never used in train."""
    rows = []
    vocabulary = sorted({form for subject in subjects for form in forms(subject.name)})
    counts = {"train": params.utterances_per_language.train, "test": params.utterances_per_language.test}
    for split in ("test", "train"):  # test first: a train utterance equal to one of test is dropped
        if split == "train":  # nor may a bare query be a name or keyword that is held out
            seen |= held_out
        made = generate_utterances(
            grammar, subjects, counts[split], split, params.split_seed, params.split_seed, vocabulary
        )
        kept = [utterance for utterance in made if _is_usable(utterance, seen)]
        rows += [_row(utterance, split, number) for number, utterance in enumerate(kept)]
    return rows


def _own_split(params: PrepareParams, utterance: UtteranceContent, items: Sequence[Item], held_out: set[str]) -> str:
    """By a hash of the text; whatever would give a held-out item, pair or text away in train is for test."""
    word = normalise(utterance.text)
    bases = {item.item_id: item.base_id for item in items}
    base = bases.get(utterance.item_id or "")
    gives_away = base is not None and text_split(params, base, utterance.lang) != "train"
    share = hash_share(params.split_seed, "utterance", utterance.lang, word)
    return "test" if gives_away or word in held_out or share < OWN_TEST_SHARE else "train"


def _own_row(utterance: UtteranceContent, split: str, number: int) -> dict[str, object]:
    return {
        "utterance_id": f"{utterance.lang}/{split}/own/{number}",
        **utterance.model_dump(include={"lang", "text", "intent", "slots", "item_id"}),
        "split": split,
    }


def _subjects(lang: str, items: Sequence[Item], texts: Sequence[SplitText]) -> list[Subject]:
    """Base items whose name in this language is in train, with their skin-tone variants.

    Raises:
        UnimrError: there are none.
    """
    names = {
        row.item_id: row.text.text
        for row in texts
        if row.text.lang == lang and row.text.role == "name" and row.split == "train"
    }
    if not names:
        raise UnimrError(f"prepare.languages has {lang!r}, but no item has a trained name in it. Change params.yaml.")
    variants: dict[str, dict[str, str]] = defaultdict(dict)
    for item in items:
        if "skin_tone" in item.attributes:
            variants[item.base_id][item.attributes["skin_tone"]] = item.item_id
    return [
        Subject(item.item_id, names[item.item_id], variants[item.item_id])
        for item in items
        if item.item_id == item.base_id and item.item_id in names
    ]


def _is_usable(utterance: Utterance, seen: set[str]) -> bool:
    """Whether the utterance is new and its slots begin and end at word boundaries, which labels by word need."""
    key = normalise(utterance.text)
    if key in seen or not _spans_are_words(utterance.text, utterance.slots):
        return False
    seen.add(key)
    return True


def _spans_are_words(text: str, slots: tuple[Slot, ...]) -> bool:
    words = segment(text)
    starts, ends = {word.start for word in words}, {word.end for word in words}
    return all(slot.start in starts and slot.end in ends for slot in slots)


def _row(utterance: Utterance, split: str, number: int) -> dict[str, object]:
    kind = "distractor" if utterance.has_distractor else "plain"
    return {
        "utterance_id": f"{utterance.lang}/{split}/{kind}/{number}",
        "lang": utterance.lang,
        "text": utterance.text,
        "intent": utterance.intent,
        "slots": [{"start": slot.start, "end": slot.end, "label": slot.label} for slot in utterance.slots],
        "item_id": utterance.item_id,
        "split": split,
    }


def write_slot_values(
    params: PrepareParams, grammars: Mapping[str, Grammar], items: Sequence[Item], folder: Path
) -> None:
    """Write `slot_values.json`: language → slot → value → the words for it.

    A category or style that no grammar knows, from the user's own items, is its own word in every language.
    """
    found = {
        "category": {item.attributes["category"] for item in items if "category" in item.attributes},
        "style": {picture.style for item in items for picture in item.pictures},
    }
    values = {lang: slot_values(grammars[lang]) if lang in grammars else {} for lang in params.languages}
    for of_lang in values.values():
        for label, words in found.items():
            known = of_lang.setdefault(label, {})
            for word in words:
                known.setdefault(word, [word])
    write_json(folder / "slot_values.json", values)
