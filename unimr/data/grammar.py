"""Annotated queries composed from a language's grammar: intent, slots and the item they ask for.

sentence = opening × politeness × (verb × object × frame) × modifiers × tail, in some of them with
another item's name that is *not* what is searched (a distractor), and in training with pseudo-words.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from unimr.data.filler import Filler
from unimr.data.grammar_file import INTENTS, PEOPLE, SLOTS, Grammar, Production, Split, load_grammar, slot_values
from unimr.errors import UnimrError

__all__ = [
    "INTENTS",
    "SLOTS",
    "Grammar",
    "Slot",
    "Subject",
    "Utterance",
    "generate_utterances",
    "load_grammar",
    "slot_values",
]

_INTENT_SHARES = {
    "find_image": 0.45,
    "find_text": 0.15,
    "filter_set": 0.13,
    "find_similar": 0.15,
    "out_of_scope": 0.12,
}
_SUBJECT_INTENTS = ("find_image", "find_text", "find_similar")
_OPENING, _POLITENESS, _FILLER_WORD = 0.4, 0.35, 0.1
_DISTRACTOR, _DISTRACTOR_LEADS = 0.4, 0.25
_TAIL = 0.45
_SHORT = 0.25  # of the sentences without a distractor
_MODIFIERS = (0.45, 0.42, 0.13)  # none, one, two
_MODIFIER_WEIGHTS = {"style": 3.0, "skin_tone": 4.0, "gender": 3.0, "time": 1.5}
_DIGITS = 0.6
_LOWER, _CAPITAL, _BARE_PUNCTUATION = 0.2, 0.4, 0.3
_NOISY = 0.5
_ATTEMPTS = 30

_MARK = re.compile(r"\s*[?？؟]$")
_STOPS = ".。।"
_COMMAS = ",،，、"
_NO_SPACE_BEFORE = tuple(",.;:!?،؟؛。、，！？।")
_PUNCTUATION = re.compile(r"[,.;:!?…،؛؟।]+(?=\s|$)|[¿¡。、，！？：；]")
_TURKISH = str.maketrans({"I": "ı", "İ": "i"})


@dataclass(frozen=True)
class Subject:
    """An item that can be asked for, in one language.

    ``variants`` maps a skin tone (``dark``) and ``genders`` a gender (``woman``) to the item_id of
    that variant. ``year`` is the year the item appeared in; sentences that name a year name this
    one, or any year where it is not known.
    """

    item_id: str
    name: str
    variants: Mapping[str, str]
    genders: Mapping[str, str] = field(default_factory=dict)
    year: int | None = None


@dataclass(frozen=True)
class Slot:
    """A labelled span of characters of the text, ``end`` exclusive."""

    start: int
    end: int
    label: str


@dataclass(frozen=True)
class Utterance:
    """An annotated query. ``item_id`` is None where no single item is asked for."""

    lang: str
    text: str
    intent: str
    slots: tuple[Slot, ...]
    item_id: str | None
    has_distractor: bool


def generate_utterances(
    grammar: Grammar,
    subjects: Sequence[Subject],
    count: int,
    split: Split,
    seed: int,
    split_seed: int,
    vocabulary: Sequence[str] = (),
) -> list[Utterance]:
    """Returns ``count`` utterances phrased with one split's productions only; the same for the same seeds.

    ``vocabulary`` holds words of the language, from which pseudo-words for about half of the train
    utterances are made (none without it, and none in test).

    Raises:
        UnimrError: there are no subjects.

    """
    if not subjects:
        raise UnimrError(f"No utterances can be made for '{grammar.lang}': there is no subject to ask for.")
    rng = random.Random(f"{seed}:{grammar.lang}:{split}:{split_seed}")
    filler = Filler(vocabulary, grammar.spaces) if split == "train" and vocabulary else None
    composer = _Composer(grammar, grammar.split(split, split_seed), subjects, filler, rng)
    return [composer.utterance() for _ in range(count)]


class _Piece(NamedTuple):
    """A run of text. ``kind``: text, part (words that carry the intent), slot, or name (a distractor)."""

    text: str
    kind: str
    label: str = ""  # the slot's label or the part's name


class _Request(NamedTuple):
    """What an utterance is going to say, before it is phrased."""

    intent: str
    subject: Subject | None
    distractor: str | None
    frame: Production


class _Composer:
    """Composes utterances of one language and one split from one stream of random numbers."""

    def __init__(
        self,
        grammar: Grammar,
        lists: Mapping[str, tuple[Production, ...]],
        subjects: Sequence[Subject],
        filler: Filler | None,
        rng: random.Random,
    ) -> None:
        self.grammar = grammar
        self.lists = lists
        self.subjects = subjects
        self.filler = filler
        self.rng = rng
        self.space = " " if grammar.spaces else ""
        # Chit-chat takes no "for my birthday card", only tails that are sentences of their own.
        self.loose_tails = tuple(tail for tail in lists["tails"] if tail.text[0] in _STOPS)

    def utterance(self) -> Utterance:
        request = self.request()
        values, item_id = self.slot_surfaces(request)
        sentences = self.components(request, values)
        if self.filler and self.rng.random() < _NOISY:
            sentences = [self.noisy(pieces, self.filler) for pieces in sentences]
        text, slots = _join(self.styled(sentences))
        has_distractor = any(piece.kind == "name" for pieces in sentences for piece in pieces)
        return Utterance(self.grammar.lang, text, request.intent, slots, item_id, has_distractor)

    # What is asked for

    def request(self) -> _Request:
        rng = self.rng
        intent = rng.choices(list(_INTENT_SHARES), list(_INTENT_SHARES.values()))[0]
        if intent == "out_of_scope":
            frame = rng.choice(self.lists["frames.out_of_scope"])
            return _Request(intent, None, None, frame)
        subject = rng.choice(self.subjects) if intent in _SUBJECT_INTENTS else None
        distractor = self.distractor(subject) if subject and rng.random() < _DISTRACTOR else None
        group = "short" if distractor is None and rng.random() < _SHORT else "frames"
        frame = rng.choice(self.lists[f"{group}.{intent}"])
        return _Request(intent, subject, distractor, frame)

    def distractor(self, subject: Subject) -> str | None:
        """Another item's name, neither part of the subject's name nor the other way round."""
        name = subject.name.casefold()
        for _ in range(_ATTEMPTS):
            other = self.rng.choice(self.subjects)
            folded = other.name.casefold()
            if other.item_id != subject.item_id and folded not in name and name not in folded:
                return other.name
        return None

    def slot_surfaces(self, request: _Request) -> tuple[dict[str, list[_Piece]], str | None]:
        """Returns the pieces for the frame's fields, and the item that is asked for."""
        subject, fields = request.subject, request.frame.fields
        if subject is None and request.intent == "out_of_scope":
            return {}, None
        labels = self.modifier_labels(request)
        fills: dict[str, list[_Piece]] = {}
        item_id = subject.item_id if subject else None
        modifiers: list[_Piece] = []
        for label in labels:
            value = self.canonical(label, subject)
            if subject and label in ("skin_tone", "gender"):
                item_id = (subject.variants if label == "skin_tone" else subject.genders)[value]
            carrier = self.rng.choice(self.lists[f"modifiers.{label}"])
            phrase = self.expand(carrier, {label: [self.surface(label, value)]})
            modifiers += ([_Piece(self.space, "text")] if modifiers and self.space else []) + phrase
        fills["mods"] = modifiers
        if subject:
            fills["subject"] = [_Piece(subject.name, "slot", "subject")]
        about_people = not {"skin_tone", "gender"}.isdisjoint({*labels, *fields})
        for label in sorted(fields & set(self.grammar.values)):  # in this order: each draws a random number
            value = PEOPLE if label == "category" and about_people else self.canonical(label, None)
            fills[label] = [self.surface(label, value)]
        return fills, item_id

    def modifier_labels(self, request: _Request) -> list[str]:
        """Which modifiers to use: none, one or two, that fit the subject or the set."""
        subject, fields = request.subject, request.frame.fields
        if "mods" not in fields:
            return []
        fitting = {"style", "time"}
        if subject is None or subject.variants:
            fitting.add("skin_tone")
        if subject is None or subject.genders:
            fitting.add("gender")
        fitting -= fields
        number = self.rng.choices(range(3), _MODIFIERS)[0]
        if subject is None and "category" not in fields:
            number = max(number, 1)  # a set without a category has to be narrowed by something
        labels: list[str] = []
        while len(labels) < number and fitting:
            ordered = sorted(fitting)
            label = self.rng.choices(ordered, [_MODIFIER_WEIGHTS[name] for name in ordered])[0]
            labels.append(label)
            fitting.discard(label)
            if subject and label in ("skin_tone", "gender"):
                fitting -= {"skin_tone", "gender"}  # a subject's variants are of one kind or the other
        return labels

    def canonical(self, label: str, subject: Subject | None) -> str:
        if subject and label == "skin_tone":
            return self.rng.choice(sorted(subject.variants))
        if subject and label == "gender":
            return self.rng.choice(sorted(subject.genders))
        values = self.grammar.values[label]
        if subject and label == "time" and str(subject.year) in values:
            return str(subject.year)
        return self.rng.choice(list(values))

    def surface(self, label: str, value: str) -> _Piece:
        surfaces = self.grammar.values[label][value]
        spoken = [surface for surface in surfaces if not surface[0].isdigit()]
        numerals = [surface for surface in surfaces if surface[0].isdigit()]
        preferred = numerals if not spoken or self.rng.random() < _DIGITS else spoken
        return _Piece(self.rng.choice(preferred or surfaces), "slot", label)

    # How it is phrased

    def components(self, request: _Request, fills: dict[str, list[_Piece]]) -> list[list[_Piece]]:
        """Leads, frame and tail, each a list of pieces; the frame's question mark goes last."""
        if "distractor" in request.frame.fields or request.intent == "out_of_scope":
            fills = {**fills, "distractor": [_Piece(self.rng.choice(self.subjects).name, "name")]}
        frame = self.expand(request.frame, fills)
        if request.frame in self.lists.get(f"short.{request.intent}", ()):
            return [frame]
        leads = self.leads()
        tails = self.loose_tails if request.intent == "out_of_scope" else self.lists["tails"]
        distractor = [_Piece(request.distractor, "name")] if request.distractor else None
        if distractor and self.rng.random() < _DISTRACTOR_LEADS:
            lead = self.expand(self.rng.choice(self.lists["distractor_leads"]), {"distractor": distractor})
            return [*leads, lead, frame]
        if distractor:
            tail = self.expand(self.rng.choice(self.lists["distractor_tails"]), {"distractor": distractor})
        elif tails and self.rng.random() < _TAIL:
            tail = self.expand(self.rng.choice(tails), {})
        else:
            return [*leads, frame]
        return [*leads, *_with_tail(frame, tail)]

    def leads(self) -> list[list[_Piece]]:
        shares = (("openings", _OPENING), ("fillers", _FILLER_WORD), ("politeness", _POLITENESS))
        chosen = [name for name, share in shares if self.rng.random() < share]
        return [self.expand(self.rng.choice(self.lists[name]), {}) for name in chosen]

    def expand(self, production: Production, fills: Mapping[str, list[_Piece]], part: str = "") -> list[_Piece]:
        """Replaces the fields: by ``fills``, or by an entry of the file's own parts."""
        pieces: list[_Piece] = []
        for kind, value in production.tokens:
            if kind == "text":
                pieces.append(_Piece(value, "part" if part else "text", part))
            elif value in fills:
                pieces += fills[value]
            else:
                pieces += self.expand(self.rng.choice(self.lists[f"parts.{value}"]), fills, value)
        return pieces

    # Noise and looks

    def noisy(self, pieces: list[_Piece], filler: Filler) -> list[_Piece]:
        """Replaces words by pseudo-words; a part of the frame, or half of its words, always stays."""
        parts = sorted({piece.label for piece in pieces if piece.kind == "part"})
        kept = self.rng.choice(parts) if parts else None
        words = [piece.text for piece in pieces if piece.kind == "text"]
        longest = max((word for text in words for word in text.split()), key=len, default="")
        noisy: list[_Piece] = []
        for position, piece in enumerate(pieces):
            open_to_noise = piece.kind == "text" or (piece.kind == "part" and piece.label != kept)
            if not open_to_noise:
                noisy.append(piece)
                continue
            glued = (
                position > 0 and pieces[position - 1].kind in ("slot", "name"),
                position + 1 < len(pieces) and pieces[position + 1].kind in ("slot", "name"),
            )
            text = filler.replace_words(piece.text, glued, longest if kept is None else "", self.rng)
            noisy.append(piece._replace(text=text))
        return noisy

    def styled(self, sentences: list[list[_Piece]]) -> list[_Piece]:
        """Puts the components in a row with the case and punctuation that this writer uses."""
        case = self.rng.choices(("lower", "capital", "as is"), (_LOWER, _CAPITAL, 1 - _LOWER - _CAPITAL))[0]
        row: list[_Piece] = []
        ends_sentence = True
        for pieces in sentences:
            if case == "capital" and ends_sentence:
                pieces = [_capitalised(pieces[0], self.grammar.lang), *pieces[1:]]
            row += ([_Piece(self.space, "text")] if row and self.space else []) + pieces
            ends_sentence = bool(pieces) and pieces[-1].text.rstrip()[-1:] in tuple(".!?。！？।؟")
        if case == "lower":
            row = [piece._replace(text=_lower(piece.text, self.grammar.lang)) for piece in row]
        if self.rng.random() < _BARE_PUNCTUATION:
            row = [
                piece._replace(text=_PUNCTUATION.sub(" ", piece.text)) if piece.kind in ("text", "part") else piece
                for piece in row
            ]
        return row


def _with_tail(frame: list[_Piece], tail: list[_Piece]) -> list[list[_Piece]]:
    """Joins frame and tail: a tail that starts with a full stop is a sentence of its own.

    So is one that starts with a comma after a question; any other goes before the question mark.
    """
    mark = _MARK.search(frame[-1].text)
    sign = tail[0].text[0]
    if sign in _STOPS or (mark and sign in _COMMAS):
        end = [] if mark else [_Piece(sign, "text")]
        return [[*frame, *end], [tail[0]._replace(text=tail[0].text[1:].lstrip()), *tail[1:]]]
    if mark is None:
        return [frame, tail]
    last = frame[-1]
    return [[*frame[:-1], last._replace(text=last.text[: mark.start()])], [*tail, _Piece(mark.group(), "text")]]


def _lower(text: str, lang: str) -> str:
    return (text.translate(_TURKISH) if lang == "tr" else text).lower()


def _capitalised(piece: _Piece, lang: str) -> _Piece:
    """The piece with its first letter as a capital, where that is one character."""
    for position, character in enumerate(piece.text):
        if character.isalnum():
            capital = "İ" if lang == "tr" and character == "i" else character.upper()
            if len(capital) == 1:
                return piece._replace(text=piece.text[:position] + capital + piece.text[position + 1 :])
            break
    return piece


def _join(pieces: Sequence[_Piece]) -> tuple[str, tuple[Slot, ...]]:
    """Returns the text, with single spaces and none before punctuation, and the spans of its slots."""
    text = ""
    slots: list[Slot] = []
    for piece in pieces:
        part = piece.text
        if piece.kind in ("text", "part"):
            part = re.sub(r"\s+", " ", part)
            if not text or text.endswith(" "):
                part = part.lstrip()
            if part.startswith(_NO_SPACE_BEFORE):
                text = _without_comma(text, slots)
                if part[0] in _COMMAS and text.endswith(("?", "？", "؟")):
                    part = part[1:]
        if piece.kind == "slot":
            slots.append(Slot(len(text), len(text) + len(part), piece.label))
        text += part
    return _without_comma(text, slots), tuple(slots)


def _without_comma(text: str, slots: Sequence[Slot]) -> str:
    """The text without the space and comma that an empty place for modifiers leaves behind."""
    end = slots[-1].end if slots else 0
    return text[:end] + text[end:].rstrip(" " + _COMMAS)
