"""XQuAD, NTREX and Tatoeba."""

from __future__ import annotations

import pytest

from unimr.data.published.languages import language_tag

from .conftest import bad, texts


def squad(context: str, *questions: tuple[str, str]) -> dict[str, object]:
    asked = [{"id": key, "question": words, "answers": []} for key, words in questions]
    return {"version": "1.1", "data": [{"title": "t", "paragraphs": [{"context": context, "qas": asked}]}, {"no": 1}]}


def test_questions_and_paragraphs_are_parallel_by_question_id(read):
    data = read(
        {
            "xquad/xquad.en.json": squad("About\ncats.", ("q1", "What?"), ("q2", "Why?")),
            "xquad/xquad.de.json": squad("Über Katzen.", ("q1", "Was?"), ("q2", "Warum?")),
            "dev-v1.1.json": squad("About dogs.", ("s1", "Who?")),
        }
    )
    by_lang = {(lang, role): (item, text) for item, lang, role, text, _ in texts(data) if item.startswith("xquad")}
    assert by_lang["en", "paragraph"] == ("xquad:q1", "About cats.")
    assert by_lang["de", "paragraph"] == ("xquad:q1", "Über Katzen.")
    assert by_lang["de", "question"][0] == "xquad:q1"
    assert ("squad:s1", "en", "question", "Who?", "dev") in texts(data)
    assert {(file, line) for file, line, _ in bad(data)} == {
        ("xquad/xquad.en.json", 2),
        ("xquad/xquad.de.json", 2),
        ("dev-v1.1.json", 2),
    }


def test_a_broken_json_file_is_noted(read):
    data = read({"xquad.en.json": squad("About cats.", ("q1", "What?")), "xquad.de.json": '{"data": ['})
    assert [(file, line) for file, line, _ in bad(data) if file == "xquad.de.json"] == [("xquad.de.json", 1)]


def test_ntrex_lines_make_documents(read):
    data = read(
        {
            "ntrex/DOCUMENT_IDS.tsv": ["bbc.1", "bbc.1", "cnn.2"],
            "ntrex/NTREX-128/newstest2019-src.eng.txt": ["One.", "Two.", "Three."],
            "ntrex/NTREX-128/newstest2019-ref.zho-TW.txt": ["一。", "二。", "三。", "四。"],
        }
    )
    found = {(item, lang, role): text for item, lang, role, text, _ in texts(data)}
    assert found["ntrex:bbc.1", "en", "document"] == "One. Two."
    assert found["ntrex:bbc.1.2", "zh-Hant", "sentence"] == "二。"
    assert [(line, reason[:6]) for _, line, reason in bad(data)] == [(4, "line 4")]
    splits = {item: split for item, _, _, _, split in texts(data)}
    assert splits["ntrex:bbc.1"] == splits["ntrex:bbc.1.1"] == splits["ntrex:bbc.1.2"]


def test_tatoeba_pairs_are_aligned(read):
    data = read(
        {
            "v1/tatoeba.deu-eng.deu": ["Ja.", "Nein.", ""],
            "v1/tatoeba.deu-eng.eng": ["Yes.", "No."],
            "v1/tatoeba.fra-eng.eng": ["Yes."],
        }
    )
    assert ("tatoeba:deu-eng.2", "de", "sentence", "Nein.") in {row[:4] for row in texts(data)}
    assert [(file, line) for file, line, _ in bad(data)] == [
        ("v1/tatoeba.deu-eng.deu", 3),
        ("v1/tatoeba.fra-eng.eng", 0),
    ]


@pytest.mark.parametrize(
    ("code", "tag"),
    [("deu", "de"), ("cmn", "zh"), ("zho-CN", "zh"), ("zho-TW", "zh-Hant"), ("zh-TW", "zh-Hant"), ("jp", "ja"),
     ("pt-PT", "pt"), ("fra-CA", "fr-CA"), ("arb", "ar"), ("sw-KE", "sw"), ("quz", "quz")],
)  # fmt: skip
def test_language_codes_become_bcp_47_tags(code, tag):
    assert language_tag(code) == tag
