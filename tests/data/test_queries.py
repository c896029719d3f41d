from __future__ import annotations

import pandas as pd

from unimr.data.items import ItemText, Picture
from unimr.data.prepare import images_table
from unimr.data.queries import is_composed_for_test, make_queries, variant_pairs
from unimr.data.splits import SplitText
from unimr.data.tables import SCHEMAS

from .small_sources import item, png, prepare_params

NO_UTTERANCES = pd.DataFrame(columns=SCHEMAS["utterances"].names)
NO_IMAGES = pd.DataFrame(columns=SCHEMAS["images"].names)
SHOWN = pd.DataFrame({"item_id": ["cat", "dog"], "image_id": ["cat/a", "dog/a"], "split": ["train", "train"]})


def row(item_id: str, lang: str, role: str, text: str, split: str) -> SplitText:
    return SplitText(item_id, ItemText(lang, role, text), split)


def asked(items, texts, images=NO_IMAGES, utterances=NO_UTTERANCES) -> dict[tuple[str, str, str], list[str]]:
    """(Task, language, text) → the relevant items."""
    queries, qrels = make_queries(items, texts, images, utterances)
    relevant = qrels.groupby("query_id")["item_id"].agg(list)
    return {(q.task, q.lang, q.text): relevant[q.query_id] for q in queries.itertuples()}


def test_a_task_for_every_kind_of_text():
    texts = [
        row("cat", "en", "name", "cat", "train"),
        row("cat", "de", "name", "Katze", "test_pair"),
        row("cat", "en", "keyword", "pet", "test_keyword"),
        row("dog", "de", "name", "Hund", "test_item"),
        row("dog", "sw", "name", "mbwa", "untrained"),
    ]
    assert asked([item("cat"), item("dog")], texts, SHOWN) == {
        ("name_to_image", "en", "cat"): ["cat"],
        ("name_to_name", "de", "Katze"): ["cat"],
        ("keyword_to_item", "en", "pet"): ["cat"],
        ("item_to_name", "de", "Hund"): ["dog"],
        ("unseen_item_to_image", "de", "Hund"): ["dog"],
        ("untrained_name_to_name", "sw", "mbwa"): ["dog"],
    }


def test_no_picture_is_asked_for_of_an_item_that_has_none():
    texts = [row("cat", "en", "name", "cat", "train"), row("bird", "en", "name", "bird", "train")]
    assert asked([item("cat"), item("bird")], texts, SHOWN) == {("name_to_image", "en", "cat"): ["cat"]}


def test_a_text_of_several_items_is_one_query_with_all_of_them():
    texts = [row(name, "en", "keyword", text, "test_keyword") for name, text in (("cat", "Pet"), ("dog", "pet"))]
    assert asked([item("cat"), item("dog")], texts) == {("keyword_to_item", "en", "Pet"): ["cat", "dog"]}


def test_variants_are_not_asked_for_by_name():
    texts = [row("cat-dark", "en", "name", "cat: dark", "train")]
    assert asked([item("cat-dark", base="cat")], texts) == {}


def test_utterances_of_test_are_queries_unless_they_name_a_skin_tone():
    subject, tone = {"start": 0, "end": 3, "label": "subject"}, {"start": 4, "end": 8, "label": "skin_tone"}
    rows = [
        ("en/test/plain/0", "en", "cat please", "find_image", [subject], "cat", "test"),
        ("en/test/distractor/1", "en", "cat not dog", "find_image", [subject], "cat", "test"),
        ("en/test/plain/2", "en", "cat dark", "find_image", [subject, tone], "cat-dark", "test"),
        ("en/test/plain/3", "en", "how are you", "out_of_scope", [], None, "test"),
        ("en/train/plain/0", "en", "a cat", "find_image", [subject], "cat", "train"),
    ]
    utterances = pd.DataFrame(rows, columns=SCHEMAS["utterances"].names)
    assert asked([item("cat")], [], utterances=utterances) == {
        ("intent_to_item", "en", "cat please"): ["cat"],
        ("intent_distractor_to_item", "en", "cat not dog"): ["cat"],
    }


def test_variant_pairs_take_the_words_after_the_colon_of_trained_names():
    items = [item("hand"), item("hand-dark", base="hand")]
    texts = [
        row("hand-dark", "en", "name", "hand: dark skin tone", "train"),
        row("hand-dark", "de", "name", "Hand: dunkle Hautfarbe", "test_pair"),
    ]
    assert list(variant_pairs(items, texts)) == [("hand", "hand-dark", {"en": "dark skin tone"})]


def test_a_gender_is_named_by_the_emoji_of_a_woman():
    items = [item("1f3c3"), item("1f3c3-200d-2640-fe0f"), item("1f469")]
    texts = [row("1f469", "en", "name", "woman", "train")]
    assert list(variant_pairs(items, texts)) == [("1f3c3", "1f3c3-200d-2640-fe0f", {"en": "woman"})]


def test_composed_queries_ask_with_a_train_picture_of_held_out_families_only():
    params = prepare_params(test_share=prepare_params().test_share.model_copy(update={"item": 0.0}))
    items, texts = [], []
    for number in range(12):
        for tone, base in (("", f"h{number}"), ("-dark", f"h{number}")):
            picture = Picture("google", png((20 * number, 200 * bool(tone), 0)))
            items.append(item(f"h{number}{tone}", base=base, pictures=(picture,)))
        texts.append(row(f"h{number}-dark", "en", "name", f"hand {number}: dark", "train"))
    queries, qrels = make_queries(items, texts, images_table(params, items), NO_UTTERANCES)
    composed = queries[queries["task"] == "composed_to_image"].merge(qrels, on="query_id")
    held_out = {f"h{n}" for n in range(12) if is_composed_for_test(f"h{n}")}
    assert held_out and set(composed["image_id"]) == {f"{base}/google" for base in held_out}
    assert set(composed["item_id"]) == {f"{base}-dark" for base in held_out}
