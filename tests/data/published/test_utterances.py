"""MASSIVE and xSID: intents, slots in characters, splits, and what is left out."""

from __future__ import annotations

import json

import pytest

from unimr.data.published.massive import slots_of

from .conftest import bad


def record(number: int = 1, **changes: object) -> str:
    values = {"id": str(number), "locale": "en-US", "partition": "dev", "scenario": "alarm", "intent": "alarm_set"}
    values |= {"utt": "wake me at nine am", "annot_utt": "wake me at [time : nine am]"}
    return json.dumps(values | changes, ensure_ascii=False)


@pytest.mark.parametrize(
    ("text", "annotated", "expected"),
    [
        ("wake me at nine am", "wake me at [time : nine am]", {"time": "nine am"}),
        ("金曜日の午前九時に", "[date : 金曜日] の [time : 午前九時] に", {"date": "金曜日", "time": "午前九時"}),
        ("जैज़ बजाओ", "[music_genre : जैज़] बजाओ", {"music_genre": "जैज़"}),
        ("olly quiet", "olly quiet", {}),
    ],
)
def test_slots_are_found_in_the_text_whatever_white_space_the_annotation_has(text, annotated, expected):
    assert {label: text[start:end] for start, end, label in slots_of(text, annotated)} == expected


@pytest.mark.parametrize("annotated", ["wake me [time : nine", "wake him at [time : nine am]", "[a : b : c] x]", ""])
def test_an_annotation_that_is_not_the_text_is_refused(annotated):
    with pytest.raises(ValueError, match="annot_utt"):
        slots_of("wake me at nine am", annotated)


def test_massive_lines(read):
    data = read(
        {
            "1.1/data/en-US.jsonl": [
                record(1),
                record(2, partition="train", utt="at three p. m.", annot_utt="at [time : three p. m.]"),
                record(3, partition="nowhere"),
                record(4, utt=None),
                record(5, annot_utt="[time : other words]"),
                "{broken",
                "[1]",
            ],
            "1.1/data/zh-TW.jsonl.gz": [record(1, locale="zh-TW", utt="九點叫醒我", annot_utt="[time : 九點]叫醒我")],
        }
    )
    found = {row.utterance_id: row for row in data.utterances}
    assert found["massive:en.1"].slots == ((11, 18, "time"),)
    assert found["massive:en.1"].split == "dev"
    assert found["massive:en.2"].slots == ((3, 13, "time"),)  # the last dot is no word
    assert found["massive:zh-Hant.1"].slots == ((0, 2, "time"),)
    assert [line for _, line, _ in bad(data)] == [3, 4, 5, 6, 7]


XSID = """\
# id = {number}
# text-en = Is it going to rain today?
# text = Regnet es heute?
# intent = weather/find
1\tRegnet\tweather/find\tB-weather/attribute
2\tes\tweather/find\tO
3\theute\tweather/find\tB-datetime
4\t?\tweather/find\tO

"""


def test_xsid_sentences(read):
    broken = XSID.format(number=2).replace("heute\t", "morgen\t")
    short = XSID.format(number=3).replace("\tweather/find\tO", "")
    data = read({"de.test.conll": XSID.format(number=1) + broken + short + XSID.format(number=4).rstrip("\n")})
    assert [row.utterance_id for row in data.utterances] == ["xsid:de.test.1", "xsid:de.test.4"]
    row = data.utterances[0]
    assert (row.text, row.intent, row.split) == ("Regnet es heute?", "weather/find", "test")
    assert row.slots == ((0, 6, "weather/attribute"), (10, 15, "datetime"))
    assert [(line, reason[:8]) for _, line, reason in bad(data)] == [(10, "the word"), (19, "a word h")]


def test_a_fifth_of_the_xsid_development_set_is_dev_the_same_in_every_language(read):
    lines = "".join(XSID.format(number=number) for number in range(1, 301))
    data = read({"de.valid.conll": lines, "it.valid.conll": lines})
    dev = {lang: {row.utterance_id.split(".")[-1] for row in data.utterances if row.lang == lang and row.split == "dev"}
           for lang in ("de", "it")}  # fmt: skip
    assert dev["de"] == dev["it"]
    assert 40 <= len(dev["de"]) <= 80
