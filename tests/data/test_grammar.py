"""The grammar of queries: what is labelled is what is said, and test phrasings are unseen in train."""

from __future__ import annotations

import itertools
import random
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import pytest
import yaml

from unimr.data.filler import Filler
from unimr.data.grammar import (
    INTENTS,
    SLOTS,
    Grammar,
    Subject,
    Utterance,
    generate_utterances,
    load_grammar,
    slot_values,
)
from unimr.data.grammar_file import Production, Split
from unimr.errors import UnimrError

FOLDER = Path(__file__).parents[2] / "data" / "sources" / "emoji" / "grammar"
LANGUAGES = ("en", "de", "fr", "es", "it", "pt", "ru", "zh", "ja", "ko", "ar", "hi", "tr")
SPLIT_SEED = 7
TONES = ("light", "medium-light", "medium", "medium-dark", "dark")
SMALLEST = {
    "openings": 12,
    "politeness": 8,
    "fillers": 6,
    "tails": 12,
    "distractor_tails": 10,
    "modifiers.skin_tone": 4,
    "modifiers.gender": 4,
    "modifiers.style": 4,
    "modifiers.time": 4,
    "frames.find_image": 24,
    "frames.find_text": 18,
    "frames.find_similar": 18,
    "frames.filter_set": 18,
    "frames.out_of_scope": 45,
    "short.find_image": 8,
}
NAME = re.compile(r"(?:qxob|wvyd|jqwu)\d\d[zkf]", re.IGNORECASE)
SHARES = {"find_image": 0.45, "find_text": 0.15, "find_similar": 0.15, "filter_set": 0.13, "out_of_scope": 0.12}


def subjects() -> list[Subject]:
    """Names that occur in no grammar, so that they can be found again in a sentence."""
    plain = [Subject(f"plain{n}", f"Qxob{n:02d}z", {}) for n in range(30)]
    hands = [Subject(f"hand{n}", f"Wvyd{n:02d}k", {tone: f"hand{n}-{tone}" for tone in TONES}) for n in range(10)]
    people = [
        Subject(f"person{n}", f"Jqwu{n:02d}f", {}, {"woman": f"person{n}-w", "man": f"person{n}-m"}, 2015)
        for n in range(10)
    ]
    return plain + hands + people


@pytest.fixture(scope="module", params=LANGUAGES)
def grammar(request: pytest.FixtureRequest) -> Grammar:
    return load_grammar(FOLDER / f"{request.param}.yaml")


@pytest.fixture(scope="module")
def english() -> Grammar:
    return load_grammar(FOLDER / "en.yaml")


def utterances(grammar: Grammar, split: Split) -> Sequence[Utterance]:
    """Three thousand utterances, made once a language and split."""
    return _utterances(grammar.lang, split)


@lru_cache
def _utterances(lang: str, split: Split) -> Sequence[Utterance]:
    return generate_utterances(load_grammar(FOLDER / f"{lang}.yaml"), subjects(), 3000, split, 1, SPLIT_SEED)


def surfaces(utterance: Utterance, label: str) -> list[str]:
    return [utterance.text[slot.start : slot.end] for slot in utterance.slots if slot.label == label]


def test_every_language_has_a_large_enough_grammar(grammar: Grammar) -> None:
    for name, smallest in SMALLEST.items():
        assert len(grammar.lists[name]) >= smallest, name


def test_every_list_is_divided_into_disjoint_parts(grammar: Grammar) -> None:
    train, test = grammar.split("train", SPLIT_SEED), grammar.split("test", SPLIT_SEED)
    for name, entries in grammar.lists.items():
        if name.startswith("parts."):  # the vocabulary of the productions
            assert train[name] == test[name] == entries, name
            continue
        assert not set(train[name]) & set(test[name]), name
        assert set(train[name]) | set(test[name]) == set(entries), name
        held_out = [entry for entry in entries if not entry.bare]
        smallest = 3 if len(held_out) >= 6 else 1
        assert min(len(train[name]), len(test[name])) >= smallest, name
        assert len(test[name]) <= max(3, len(held_out) / 2), name


def test_the_division_depends_on_the_split_seed(english: Grammar) -> None:
    assert english.split("test", 1) != english.split("test", 2)


def test_spans_are_exactly_values_of_their_slot(grammar: Grammar) -> None:
    names = {subject.name.casefold() for subject in subjects()}
    known = {
        label: {surface.casefold() for surfaces in values.values() for surface in surfaces}
        for label, values in slot_values(grammar).items()
    }
    for utterances_of_split in (utterances(grammar, "train"), utterances(grammar, "test")):
        for utterance in utterances_of_split:
            assert utterance.intent in INTENTS and utterance.lang == grammar.lang
            ends = [0, *(slot.end for slot in utterance.slots)]
            for slot, earlier in zip(utterance.slots, ends, strict=False):
                assert slot.label in SLOTS
                assert earlier <= slot.start < slot.end <= len(utterance.text)
                surface = utterance.text[slot.start : slot.end].casefold().replace("i̇", "i")
                assert surface in (names if slot.label == "subject" else known[slot.label]), utterance


def test_texts_are_tidy(grammar: Grammar) -> None:
    for utterance in (*utterances(grammar, "train"), *utterances(grammar, "test")):
        assert utterance.text == utterance.text.strip()
        assert not re.search(r"\s\s|\s[,、，،]|[{}]|[,、，،][,、，،]|[?？؟][,،、，]", utterance.text), utterance.text


def letters(text: str) -> str:
    return "".join(c for c in text.casefold() if unicodedata.category(c)[0] in "LMN" or c in "<_>")


def expansions(lists: Mapping[str, Sequence[Production]], entry: Production) -> list[str]:
    """Every text that a frame can become, with the names of its slots and without modifiers."""
    options = []
    for kind, value in entry.tokens:
        if kind == "text":
            options.append([value])
        elif f"parts.{value}" in lists:
            options.append([text for part in lists[f"parts.{value}"] for text in expansions(lists, part)])
        else:
            options.append(["" if value == "mods" else f"<{value}>"])
    return ["".join(choice) for choice in itertools.product(*options)]


def test_no_two_productions_say_the_same(grammar: Grammar) -> None:
    said: dict[str, str] = {}
    for name, entries in grammar.lists.items():
        for entry in entries:
            if name.startswith(("frames", "short")) and not entry.bare:
                for text in expansions(grammar.lists, entry):
                    assert said.setdefault(letters(text), entry.wording) == entry.wording, (name, entry.text)


def test_no_phrasing_of_test_occurs_in_train(grammar: Grammar) -> None:
    def phrasings(split: Split) -> set[str]:
        """The words around slots and names, of every utterance that has any."""
        found = set()
        for utterance in utterances(grammar, split):
            text = utterance.text
            for slot in reversed(utterance.slots):
                text = f"{text[: slot.start]}<{slot.label}>{text[slot.end :]}"
            found.add(letters(NAME.sub("<name>", text)))
        return {text for text in found if re.sub("<[a-z_]+>", "", text)}

    assert not phrasings("train") & phrasings("test")


def test_the_mixture_of_intents_and_distractors(grammar: Grammar) -> None:
    made = utterances(grammar, "train")
    counts = Counter(utterance.intent for utterance in made)
    for intent, share in SHARES.items():
        assert abs(counts[intent] / len(made) - share) < 0.03, intent
    about_items = [utterance for utterance in made if utterance.item_id]
    assert abs(sum(utterance.has_distractor for utterance in about_items) / len(about_items) - 0.4) < 0.05


def test_a_distractor_is_another_item_and_unlabelled(grammar: Grammar) -> None:
    for utterance in utterances(grammar, "train"):
        said = [name.casefold() for name in NAME.findall(utterance.text)]
        subject = [surface.casefold() for surface in surfaces(utterance, "subject")]
        assert len(said) == len(subject) + utterance.has_distractor, utterance
        assert len(set(said)) == len(said)


def test_a_distractor_never_contains_the_subject_s_name(english: Grammar) -> None:
    cats = [Subject("cat", "cat", {}), Subject("black-cat", "black cat", {}), Subject("kitty", "Cat", {})]
    assert not any(u.has_distractor for u in generate_utterances(english, cats, 500, "train", 1, 1) if u.item_id)


def test_item_ids_follow_the_slots(grammar: Grammar) -> None:
    tones = {s.casefold(): tone for tone, found in slot_values(grammar)["skin_tone"].items() for s in found}
    genders = {s.casefold(): gender for gender, found in slot_values(grammar)["gender"].items() for s in found}
    by_name = {subject.name.casefold(): subject for subject in subjects()}
    labels_seen = set()
    for utterance in utterances(grammar, "train"):
        named = surfaces(utterance, "subject")
        if utterance.intent in ("filter_set", "out_of_scope"):
            assert utterance.item_id is None and not named
            assert bool(utterance.slots) == (utterance.intent == "filter_set")
            continue
        subject = by_name[named[0].casefold()]
        expected = subject.item_id
        for surface in surfaces(utterance, "skin_tone"):
            expected = subject.variants[tones[surface.casefold().replace("i̇", "i")]]
        for surface in surfaces(utterance, "gender"):
            expected = subject.genders[genders[surface.casefold().replace("i̇", "i")]]
        if subject.year and surfaces(utterance, "time"):
            years = slot_values(grammar)["time"][str(subject.year)]
            assert surfaces(utterance, "time")[0] in years
        assert utterance.item_id == expected
        labels_seen |= {slot.label for slot in utterance.slots}
    assert {"subject", "skin_tone", "gender", "style", "time"} <= labels_seen


def test_the_same_seeds_give_the_same_utterances(english: Grammar) -> None:
    def made(seed: int) -> list[Utterance]:
        return generate_utterances(english, subjects(), 200, "train", seed, SPLIT_SEED, ["banana", "cabana"])

    assert made(1) == made(1)
    assert made(1) != made(2)


def test_pseudo_words_are_in_about_half_of_train_and_never_in_test(english: Grammar) -> None:
    vocabulary = ["zzyzx", "zyxxy", "xyzzy", "zxyzy", "yzxyz", "zyzzx"]
    mark = re.compile(r"[xyz]{3,}", re.IGNORECASE)

    def share(split: Split, words: list[str], intent: str | None = None) -> float:
        made = generate_utterances(english, subjects(), 3000, split, 1, SPLIT_SEED, words)
        chosen = [u for u in made if intent in (None, u.intent)]
        return sum(bool(mark.search(u.text)) for u in chosen) / len(chosen)

    assert share("test", vocabulary) == 0
    assert share("train", []) == 0
    assert 0.3 < share("train", vocabulary) < 0.55
    assert abs(share("train", vocabulary, "out_of_scope") - share("train", vocabulary, "find_image")) < 0.15


def test_pseudo_words_stay_out_of_values_and_leave_the_intent(english: Grammar) -> None:
    noisy = generate_utterances(english, subjects(), 2000, "train", 1, SPLIT_SEED, ["zzyzx", "zyxxy", "xyzzy", "yzx"])
    for utterance in noisy:
        for slot in utterance.slots:
            assert not re.search(r"[xyz]{3,}", utterance.text[slot.start : slot.end], re.IGNORECASE)
        inside = {place for slot in utterance.slots for place in range(slot.start, slot.end)}
        rest = "".join(c for place, c in enumerate(utterance.text) if place not in inside)
        words = [word for word in re.findall(r"[^\W\d]+", rest) if not re.fullmatch(r"[xyzXYZ]+", word)]
        assert words or utterance.slots


def test_pseudo_words_are_new_words_of_the_same_letters() -> None:
    rng = random.Random(1)
    vocabulary = ["banana", "bandana", "cabana", "canada", "panama"]
    words = [Filler(vocabulary, spaces=True).word(rng) for _ in range(50)]
    made = [word for word in words if word]
    assert made and not set(made) & set(vocabulary)
    assert set("".join(made)) <= set("".join(vocabulary))
    assert Filler([], spaces=True).word(rng) is None
    assert all(len(Filler(["红色书本", "绿色"], spaces=False).word(rng) or "") <= 3 for _ in range(20))


def test_values_turn_into_typed_filters(english: Grammar) -> None:
    values = slot_values(english)
    assert values["count"]["3"] == ["3", "three"]
    assert values["time"]["2019"] == ["2019"]
    assert "twemoji" in values["style"]["twitter"]
    assert "animals" in values["category"]["Animals & Nature"]


def test_digits_of_the_language_are_values_too() -> None:
    assert slot_values(load_grammar(FOLDER / "ar.yaml"))["time"]["2019"] == ["2019", "٢٠١٩"]


def test_turkish_is_lowered_by_its_own_rules() -> None:
    turkish = load_grammar(FOLDER / "tr.yaml")
    made = generate_utterances(turkish, [Subject("a", "IŞIK", {}), Subject("b", "İNCİR", {})], 400, "train", 1, 1)
    assert {surface for u in made for surface in surfaces(u, "subject")} == {"IŞIK", "İNCİR", "ışık", "incir"}


def broken(tmp_path: Path, change: str) -> Path:
    content = yaml.safe_load((FOLDER / "en.yaml").read_text(encoding="utf-8"))
    exec(change, {"g": content})
    path = tmp_path / "en.yaml"
    path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ("g['tail'] = ['x']", "unknown key tail"),
        ("del g['tails']", "missing key tails"),
        ("g['tails'] = []", "'tails'"),
        ("g['tails'] = 'x'", "'tails'"),
        ("g['tails'] = ['a', 'b', True]", "'tails'"),
        ("g['tails'] = ['a', 'b']", "at least 3"),
        ("g['tails'].append(g['tails'][0])", "occurs twice"),
        ("g['tails'].append('for {subject}')", "field subject"),
        ("g['frames']['buy'] = ['x']", "unknown key buy"),
        ("g['frames']['find_image'].append('{shwo} {subject}')", "shwo"),
        ("g['frames']['find_text'].append('what is it')", "needs a field"),
        ("g['frames']['out_of_scope'].append('wake {subject}')", "'frames.out_of_scope'"),
        ("g['modifiers']['style'].append('like that')", "'modifiers.style'"),
        ("g['parts']['idle'] = ['a', 'b', 'c']", "'parts.idle'"),
        ("g['parts'] = []", "'parts'"),
        ("g['values']['style']['apple'] = ['apple']", "unknown key apple"),
        ("g['values']['style']['twitter'].append('Noto')", "also means google"),
        ("g['values']['count'][99] = ['many']", "unknown key 99"),
        ("g['digits'] = '012'", "'digits'"),
        ("g['lang'] = 'de'", "'lang'"),
        ("g['spaces'] = 'no'", "'spaces'"),
    ],
)
def test_a_malformed_file_is_refused_with_its_name_and_key(tmp_path: Path, change: str, key: str) -> None:
    path = broken(tmp_path, change)
    with pytest.raises(UnimrError, match=re.escape(key)) as refused:
        load_grammar(path)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize("content", [None, "a: [", "- a list"])
def test_an_unreadable_file_is_refused(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "en.yaml"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(UnimrError, match=re.escape(str(path))):
        load_grammar(path)


def test_no_subject_is_refused(english: Grammar) -> None:
    with pytest.raises(UnimrError, match="no subject"):
        generate_utterances(english, [], 1, "train", 1, 1)
