"""Annotated utterances from the grammars, for training and testing query understanding."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from unimr.config import PrepareParams
from unimr.data.grammar import Slot, Subject, Utterance, generate_utterances, load_grammar, slot_values
from unimr.data.items import Item
from unimr.data.splits import SplitText
from unimr.data.text import normalise, segment
from unimr.errors import UnimrError
from unimr.files import write_json

HELD_OUT = ("test_item", "test_pair", "test_keyword")
GRAMMAR_FOLDER = Path("data/sources/emoji/grammar")


def make_utterances(
    params: PrepareParams, root: Path, items: Sequence[Item], texts: Sequence[SplitText]
) -> pd.DataFrame:
    """A row an utterance. Subjects are train names only; test utterances use productions never used in train."""
    rows = []
    for lang in params.languages:
        grammar = load_grammar(_grammar_path(root, lang))
        subjects = _subjects(lang, items, texts)
        vocabulary = sorted({word.form for subject in subjects for word in segment(subject.name)})
        counts = {"train": params.utterances_per_language.train, "test": params.utterances_per_language.test}
        seen: set[str] = set()
        for split in ("test", "train"):  # test first: a train utterance equal to one of test is dropped
            if split == "train":  # nor may a bare query be a name or keyword that is held out
                seen |= {normalise(row.text.text) for row in texts if row.text.lang == lang and row.split in HELD_OUT}
            made = generate_utterances(
                grammar, subjects, counts[split], split, params.split_seed, params.split_seed, vocabulary
            )
            kept = [utterance for utterance in made if _is_usable(utterance, seen)]
            rows += [_row(utterance, split, number) for number, utterance in enumerate(kept)]
    return pd.DataFrame(rows)


def _grammar_path(root: Path, lang: str) -> Path:
    path = root / GRAMMAR_FOLDER / f"{lang}.yaml"
    if not path.exists():
        known = ", ".join(sorted(file.stem for file in path.parent.glob("*.yaml")))
        raise UnimrError(f"There is no grammar for the language {lang!r} ({path}). Known: {known}. Change prepare.languages.")
    return path


def _subjects(lang: str, items: Sequence[Item], texts: Sequence[SplitText]) -> list[Subject]:
    """Base items whose name in this language is in train, with their skin-tone variants."""
    names = {
        row.item_id: row.text.text
        for row in texts
        if row.text.lang == lang and row.text.role == "name" and row.split == "train"
    }
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


def write_slot_values(params: PrepareParams, root: Path, folder: Path) -> None:
    """Write `slot_values.json`: language → slot → value → the words for it."""
    values = {lang: slot_values(load_grammar(_grammar_path(root, lang))) for lang in params.languages}
    write_json(folder / "slot_values.json", values)
