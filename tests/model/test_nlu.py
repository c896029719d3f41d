from __future__ import annotations

import pytest
import torch

from unimr.data.text import segment
from unimr.model.nlu import SLOTS, TAGS, FusionGate, Labels, NluModule, decode_slots, tag_words
from unimr.model.text_encoder import NgramTextEncoder
from unimr.model.tokenizer import NgramTokenizer


def annotate(text: str, **parts: str) -> list[dict[str, object]]:
    return [
        {"start": text.index(part), "end": text.index(part) + len(part), "label": label}
        for label, part in parts.items()
    ]


def certain(tags: list[str], probability: float = 0.9) -> torch.Tensor:
    rest = (1 - probability) / (len(TAGS) - 1)
    rows = torch.full((len(tags), len(TAGS)), rest)
    rows[torch.arange(len(tags)), torch.tensor([TAGS.index(tag) for tag in tags])] = probability
    return rows


def decode(text: str, *tags: str) -> list[tuple[str, str]]:
    return [(slot.label, slot.text) for slot in decode_slots(text, segment(text), certain(list(tags)))]


EXAMPLES = {
    "en": ("show me a waving hand with dark skin", {"subject": "waving hand", "skin_tone": "dark skin"}),
    "fr": ("montre-moi l'homme qui court", {"subject": "homme qui court"}),
    "de": ("ein Gesicht, bitte im Twitter-Stil", {"subject": "Gesicht", "style": "Twitter-Stil"}),
    "zh": ("请给我看深色皮肤的挥手", {"skin_tone": "深色皮肤", "subject": "挥手"}),
    "ja": ("笑っている猫の絵文字を見せて", {"subject": "笑っている猫"}),
    "ja katakana": ("ロケットの画像", {"subject": "ロケット"}),
    "th": ("ขอรูปแมวหน่อย", {"subject": "แมว"}),
    "ko": ("웃는 얼굴 세 개 보여줘", {"subject": "웃는 얼굴", "count": "세"}),
    "hi": ("मुझे हँसता हुआ चेहरा दिखाओ", {"subject": "हँसता हुआ चेहरा"}),
    "ar": ("أرني وجه ضاحك من فضلك", {"subject": "وجه ضاحك"}),
    "ru": ("покажи красное яблоко 2015", {"subject": "красное яблоко", "time": "2015"}),
}


@pytest.mark.parametrize(("text", "parts"), EXAMPLES.values(), ids=EXAMPLES)
def test_annotated_slots_survive_tagging_and_decoding(text, parts):
    words = segment(text)
    tags = [TAGS[number] for number in tag_words(words, annotate(text, **parts))]
    assert sorted(decode(text, *tags)) == sorted(parts.items())


def test_neighbouring_slots_of_one_label_stay_apart():
    text = "cat dog"
    slots = [{"start": 0, "end": 3, "label": "subject"}, {"start": 4, "end": 7, "label": "subject"}]
    tags = [TAGS[number] for number in tag_words(segment(text), slots)]
    assert tags == ["B-subject", "B-subject"]
    assert decode(text, *tags) == [("subject", "cat"), ("subject", "dog")]


def test_a_word_only_partly_in_a_slot_has_no_tag():
    assert tag_words(segment("cats"), [{"start": 0, "end": 3, "label": "subject"}]) == [0]


def test_a_text_without_slots_has_no_tags():
    assert tag_words(segment("hello there"), []) == [0, 0]


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        (("O", "O", "O"), []),
        (("I-subject", "I-subject", "O"), [("subject", "red cat")]),
        (("O", "O", "B-subject"), [("subject", "here")]),
        (("B-skin_tone", "I-skin_tone", "I-skin_tone"), [("skin_tone", "red cat here")]),
    ],
)
def test_spans_of_every_tag_sequence(tags, found):
    assert decode("red cat here", *tags) == found


def test_a_slot_has_its_place_and_mean_probability():
    text = "a red cat"
    rows = torch.cat([certain(["O"]), certain(["B-subject"], 0.8), certain(["I-subject"], 0.6)])
    (slot,) = decode_slots(text, segment(text), rows)
    assert (slot.start, slot.end, slot.text) == (2, 9, "red cat")
    assert slot.confidence == pytest.approx(0.7)


def test_an_unsure_word_between_two_of_a_slot_does_not_cut_it():
    rows = torch.cat([certain(["B-subject"]), certain(["O"], 0.5), certain(["I-subject"])])
    rows[1, TAGS.index("I-subject")] = 0.4
    assert [slot.text for slot in decode_slots("red cat here", segment("red cat here"), rows)] == ["red cat here"]


def test_a_slot_never_begins_in_its_middle():
    rows = torch.cat([certain(["O"]), certain(["I-style"], 0.6)])
    rows[1, TAGS.index("B-style")], rows[1, TAGS.index("B-subject")] = 0.2, 0.1
    assert [(slot.label, slot.text) for slot in decode_slots("red cat", segment("red cat"), rows)] == [("style", "cat")]


def test_padding_rows_are_left_out():
    assert decode_slots("red", segment("red"), certain(["O", "B-subject", "B-subject"])) == ()


def test_every_slot_has_two_tags():
    assert len(TAGS) == len(set(TAGS)) == 1 + 2 * len(SLOTS)


def test_padding_never_changes_what_is_understood(model_params):
    torch.manual_seed(0)
    encoder = NgramTextEncoder(model_params.text, model_params.dim).eval()
    nlu = NluModule(model_params.nlu, model_params.dim).eval()
    tokenizer = NgramTokenizer(1024, 4, 12)
    words = [tokenizer.words(text) for text in ("red cat", "a much longer text than the other")]
    with torch.no_grad():
        alone, padded = (nlu(encoder(tokenizer.batch(part))) for part in (words[:1], words))
    assert torch.allclose(alone.intent_logits[0], padded.intent_logits[0], atol=1e-5)
    assert torch.allclose(alone.tag_logits[0], padded.tag_logits[0, :2], atol=1e-5)
    assert torch.allclose(alone.features[0], padded.features[0], atol=1e-5)


def test_the_gate_lies_between_the_two_and_begins_near_the_text():
    gate = FusionGate(8)
    pooled, features = torch.zeros(3, 8), torch.ones(3, 8)
    with torch.no_grad():
        mixed = gate(pooled, features)
    assert torch.allclose(mixed, torch.sigmoid(torch.tensor(-2.0)).expand(3, 8))


def test_without_a_subject_every_slot_is_content():
    labels = Labels(("alarm_set",), ("time", "date"))
    assert labels.tags == ("O", "B-time", "I-time", "B-date", "I-date")
    assert labels.content_tags == [1, 2, 3, 4]
    assert [Labels().tags[tag] for tag in Labels().content_tags] == ["B-subject", "I-subject"]


def test_spans_of_other_labels_are_tagged_and_found_again():
    labels, text = Labels(("alarm_set",), ("time", "date")), "wake me at nine am on friday"
    slots = [{"start": 11, "end": 18, "label": "time"}, {"start": 22, "end": 28, "label": "date"}]
    tags = tag_words(segment(text), slots, labels)
    assert [labels.tags[tag] for tag in tags] == ["O", "O", "O", "B-time", "I-time", "O", "B-date"]
    rows = torch.nn.functional.one_hot(torch.tensor(tags), len(labels.tags)).float()
    assert [(slot.label, slot.text) for slot in decode_slots(text, segment(text), rows, labels)] == [
        ("time", "nine am"),
        ("date", "friday"),
    ]
