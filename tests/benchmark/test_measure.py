"""What is measured, against values worked out by hand and against published tools."""

from __future__ import annotations

import ir_measures
import numpy as np
import pytest
from ir_measures import RR, Success
from seqeval.metrics import f1_score, precision_score, recall_score
from seqeval.scheme import IOB2
from sklearn.metrics import accuracy_score

from unimr.benchmark.measure import SEEN, UNSEEN, Options, measure
from unimr.data.published.records import Dataset

from .conftest import TableModel, caption, frame, utterance

AXES = {"red": [1.0, 0, 0], "green": [0, 1.0, 0], "blue": [0, 0, 1.0]}
COLOURS = {(255, 0, 0): AXES["red"], (0, 255, 0): AXES["green"], (0, 0, 255): AXES["blue"]}


def scores(rows, task, lang, measure_name):
    found = [row for row in rows if (row.task, row.lang) == (task, lang) and not row.subset]
    return found[0].scores[measure_name].value


def test_captions_and_photographs_of_the_split_are_searched_both_ways(photographs):
    german = {"red (de)": [0.9, 0.1, 0], "green (de)": [0.8, 0.2, 0]}  # green is taken for red
    rows = measure(TableModel({**AXES, **german}, COLOURS), photographs, Options("dev", {"en"}, samples=20))
    assert scores(rows, "text_to_image", "en", "recall_at_1") == 1.0
    assert scores(rows, "text_to_image", "de", "recall_at_1") == 0.5
    assert scores(rows, "text_to_image", "de", "mrr") == 0.75
    assert scores(rows, "image_to_text", "de", "recall_at_1") == 1.0
    assert scores(rows, "caption_to_english", "de", "recall_at_1") == 0.5
    english = next(row for row in rows if row.task == "text_to_image" and row.lang == "en")
    assert (english.queries, english.gallery, english.left_out, english.trained) == (2, 2, 1, True)


def test_a_tie_is_lost(photographs):
    same = {key: [1.0, 0, 0] for key in ["red", "green", "red (de)", "green (de)"]}
    rows = measure(TableModel(same, {key: [1.0, 0, 0] for key in COLOURS}), photographs, Options("dev", {"en"}, 0))
    assert scores(rows, "text_to_image", "en", "recall_at_1") == 0.0
    assert scores(rows, "text_to_image", "en", "recall_at_5") == 1.0


def test_ranks_are_those_of_ir_measures():
    rng = np.random.default_rng(3)
    data, vectors = Dataset(), {}
    for number in range(60):
        for lang, count in (("de", 1 + number % 3), ("en", 5)):
            for copy in range(count):
                text = f"{lang} {number} {copy}"
                data.texts.append(caption(f"flickr:{number}", lang, text))
                vectors[text] = rng.normal(size=8)
    rows = measure(TableModel(vectors, {}), data, Options("dev", {"en"}, samples=0))
    english = {text.text: text.item_id for text in data.texts if text.lang == "en"}
    asked = {text.text: text.item_id for text in data.texts if text.lang == "de"}
    qrels = {query: {text: int(item == other) for text, other in english.items()} for query, item in asked.items()}
    run = {
        query: {text: float(np.float32(vectors[query]) @ np.float32(vectors[text])) for text in english}
        for query in asked
    }
    expected = ir_measures.calc_aggregate([RR, Success @ 1, Success @ 5, Success @ 10], qrels, run)
    names = {"mrr": RR, "recall_at_1": Success @ 1, "recall_at_5": Success @ 5, "recall_at_10": Success @ 10}
    for name, measured in names.items():
        assert scores(rows, "caption_to_english", "de", name) == pytest.approx(expected[measured], abs=1e-9)


def bio_and_frames(rng, count):
    """Random tags of words of two letters, and the same as spans of characters."""
    tagged, frames, labels = [], [], ("time", "date")
    for _ in range(count):
        tags, spans = [], []
        for place in range(int(rng.integers(1, 9))):
            start, label = place * 3, labels[int(rng.integers(2))]
            kind = "OBI"[int(rng.integers(3))]
            if kind == "I" and tags and tags[-1] != "O":
                tags.append("I-" + tags[-1][2:])
                spans[-1] = (spans[-1][0], start + 2, spans[-1][2])
            elif kind == "B":
                tags.append("B-" + label)
                spans.append((start, start + 2, label))
            else:
                tags.append("O")
        tagged.append(tags)
        frames.append(spans)
    return tagged, frames


def test_intents_and_slots_are_those_of_scikit_learn_and_seqeval():
    rng = np.random.default_rng(5)
    true_tags, true_spans = bio_and_frames(rng, 200)
    guessed_tags, guessed_spans = bio_and_frames(rng, 200)
    lengths = [max(len(a), len(b)) for a, b in zip(true_tags, guessed_tags, strict=True)]
    padded = [
        [tags + ["O"] * (length - len(tags)) for tags, length in zip(some, lengths, strict=True)]
        for some in (true_tags, guessed_tags)
    ]
    intents = rng.integers(0, 3, (2, 200)).astype(str)
    data, frames = Dataset(), {}
    for number in range(200):
        text = f"{'aa ' * lengths[number]}{number}"
        data.utterances.append(utterance(number, text, intents[0][number], *true_spans[number]))
        frames[text] = frame(intents[1][number], *guessed_spans[number])
    rows = measure(TableModel({}, {}, frames), data, Options("dev", {"en"}, samples=0))
    assert scores(rows, "nlu", "en", "intent_accuracy") == pytest.approx(accuracy_score(*intents))
    for name, tool in (("slot_f1", f1_score), ("slot_precision", precision_score), ("slot_recall", recall_score)):
        expected = tool(*padded, mode="strict", scheme=IOB2)
        assert 0 < expected < 1
        assert scores(rows, "nlu", "en", name) == pytest.approx(expected)
    both = [
        (intent, frozenset(spans)) == (guess, frozenset(guessed))
        for intent, spans, guess, guessed in zip(intents[0], true_spans, intents[1], guessed_spans, strict=True)
    ]
    assert scores(rows, "nlu", "en", "exact_match") == pytest.approx(np.mean(both))


def test_trained_and_untrained_languages_have_means_of_their_own():
    data, vectors = Dataset(), {}
    for number in range(4):
        vector = np.eye(4)[number]
        for lang in ("en", "de", "fr", "sw", "yo"):
            vectors[f"{lang} {number}"] = vector if lang != "yo" else np.eye(4)[0]
            data.texts.append(caption(f"flickr:{number}", lang, f"{lang} {number}"))
    rows = measure(TableModel(vectors, {}), data, Options("dev", {"en", "de", "fr"}, samples=30))
    assert scores(rows, "caption_to_english", SEEN, "recall_at_1") == 1.0
    assert scores(rows, "caption_to_english", UNSEEN, "recall_at_1") == pytest.approx((1.0 + 0.25) / 2)


def test_the_interval_draws_items_with_all_their_queries():
    """Ten items, each with a hundred equal queries: as uncertain as ten queries, not as a thousand."""
    data, vectors = Dataset(), {}
    for number in range(10):
        vectors[f"en {number}"] = np.eye(10)[number]
        data.texts.append(caption(f"flickr:{number}", "en", f"en {number}"))
        for copy in range(100):
            vectors[f"de {number} {copy}"] = np.eye(10)[number if number < 5 else (number + 1) % 10]
            data.texts.append(caption(f"flickr:{number}", "de", f"de {number} {copy}"))
    rows = measure(TableModel(vectors, {}), data, Options("dev", {"en", "de"}, samples=500))
    score = next(row for row in rows if row.lang == "de").scores["recall_at_1"]
    assert score.value == 0.5
    assert score.high - score.low > 0.4


def test_the_800_and_the_clean_200_of_xtd10_are_told_apart():
    data, vectors = Dataset(), {}
    for number in range(4):
        for lang in ("en", "de"):
            right = lang == "en" or number > 0
            vectors[f"{lang} {number}"] = np.eye(4)[number if right else 3]
            data.texts.append(caption(f"coco:{number}", lang, f"{lang} {number}", "test", "xtd10"))
        data.subsets["xtd10", f"coco:{number}"] = "clean 200" if number else "800 of COCO train"
    rows = measure(TableModel(vectors, {}), data, Options("dev", {"en", "de"}, samples=0))
    found = {row.subset: (row.scores["recall_at_1"].value, row.queries, row.gallery) for row in rows}
    assert found == {"": (0.75, 4, 4), "clean 200": (1.0, 3, 4), "800 of COCO train": (0.0, 1, 4)}


def test_sets_without_a_split_of_their_own_are_test_as_a_whole():
    data, vectors = Dataset(), {}
    for number in range(3):
        for lang in ("en", "de"):
            vectors[f"{lang} {number}"] = np.eye(3)[number]
            data.texts.append(caption(f"tatoeba:{number}", lang, f"{lang} {number}", "train", "tatoeba", "sentence"))
            data.texts.append(caption(f"flickr:{number}", lang, f"{lang} {number}", ""))
    asked = {
        split: {row.task: row.queries for row in measure(TableModel(vectors, {}), data, Options(split, {"de"}, 0))}
        for split in ("dev", "test")
    }
    assert asked["dev"] == {}
    assert asked["test"] == {"caption_to_english": 3, "sentence_to_english": 3, "english_to_sentence": 3}
