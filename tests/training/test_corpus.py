from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from unimr.data.mixture import write_mixture
from unimr.data.tables import read_table
from unimr.data.text import normalise
from unimr.model.tokenizer import NgramTokenizer
from unimr.training.corpus import ROLE_SHARES, TextCorpus, ngram_idf

NO_UTTERANCES = pd.DataFrame({"split": [], "item_id": [], "lang": [], "text": []})


def tokenizer() -> NgramTokenizer:
    return NgramTokenizer(1024, 3, 20)


def text_frame(*rows: tuple[str, str, str, str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["item_id", "lang", "role", "text", "split"])


@pytest.fixture(scope="module")
def corpus(tables) -> TextCorpus:
    texts = read_table(tables, "texts")
    return TextCorpus(texts, read_table(tables, "utterances"), sorted(texts["item_id"].unique()), tokenizer())


def test_the_generator_alone_decides_the_sample(corpus):
    def draw(seed: int) -> list[int]:
        return corpus.sample(64, np.random.default_rng(seed)).tolist()

    first = draw(3)
    corpus.sample(5, np.random.default_rng(0))
    assert draw(3) == first
    assert draw(4) != first


def test_roles_have_their_shares(corpus):
    numbers = corpus.sample(20_000, np.random.default_rng(0))
    there = sum(ROLE_SHARES[role] for role in corpus._of_role)
    for role, rows in corpus._of_role.items():
        assert np.isin(numbers, rows).mean() == pytest.approx(ROLE_SHARES[role] / there, abs=0.02)


def test_a_missing_role_leaves_its_share_to_the_others():
    texts = text_frame(("a", "en", "name", "cat", "train"), ("b", "en", "keyword", "dog", "train"))
    corpus = TextCorpus(texts, NO_UTTERANCES, ["a", "b"], tokenizer())
    names = (corpus.sample(20_000, np.random.default_rng(0)) == 0).mean()
    assert names == pytest.approx(ROLE_SHARES["name"] / (ROLE_SHARES["name"] + ROLE_SHARES["keyword"]), abs=0.02)


def test_names_of_variants_are_a_role_of_their_own():
    rows = [("a", "en", "name", "hand", "train"), ("b", "en", "name", "dark hand", "train")]
    rows += [("b", "en", "keyword", "dark", "train")]
    corpus = TextCorpus(text_frame(*rows), NO_UTTERANCES, ["a", "b"], tokenizer(), variants={"b"})
    numbers = corpus.sample(20_000, np.random.default_rng(0))
    there = ROLE_SHARES["name"] + ROLE_SHARES["variant"] + ROLE_SHARES["keyword"]
    shares = [(numbers == place).mean() for place in range(3)]
    assert shares == pytest.approx([ROLE_SHARES[role] / there for role in ("name", "variant", "keyword")], abs=0.02)


def test_only_train_rows_are_in_it(corpus, tables):
    texts, utterances = read_table(tables, "texts"), read_table(tables, "utterances")
    trained = {normalise(text) for text in texts.loc[texts["split"] == "train", "text"]}
    trained |= set(utterances.loc[utterances["split"] == "train", "text"])
    assert set(corpus.texts) <= trained
    held_out = {normalise(text) for text in texts.loc[texts["split"] == "test_pair", "text"]}
    assert held_out
    assert not held_out & set(corpus.texts)


def test_a_shared_text_is_one_entry_with_all_its_items():
    texts = text_frame(
        ("a", "en", "keyword", "Cat", "train"),
        ("b", "en", "keyword", "cat", "train"),
        ("c", "en", "keyword", "dog", "train"),
        ("c", "en", "keyword", "DOG", "train"),
        ("unknown", "en", "keyword", "cow", "train"),
    )
    corpus = TextCorpus(texts, NO_UTTERANCES, ["a", "b", "c"], tokenizer())
    assert corpus.texts == ["cat", "dog"]
    assert corpus.targets(np.array([0, 1])).tolist() == [[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]


def test_an_item_of_the_same_text_in_another_role_or_language_is_no_negative():
    texts = text_frame(
        ("a", "en", "name", "cat", "train"),
        ("b", "en", "keyword", "cat", "train"),
        ("c", "de", "name", "Cat", "train"),
        ("d", "en", "name", "dog", "train"),
    )
    corpus = TextCorpus(texts, NO_UTTERANCES, ["a", "b", "c", "d"], tokenizer())
    assert corpus.targets(np.array([0])).tolist() == [[1.0, -1.0, -1.0, 0.0]]


def test_targets_sum_to_one(corpus):
    targets = corpus.targets(np.arange(len(corpus.texts)))
    assert targets.shape == (len(corpus.texts), len(corpus.item_ids))
    assert np.allclose(targets.clamp(min=0).sum(1), 1)
    assert (targets > 0).sum(1).max() > 1


def test_dropped_words_leave_at_least_one_in_their_order(corpus):
    longest = int(np.argmax([len(words) for words in corpus.words]))
    words = corpus.words[longest]
    found = [corpus.dropped(longest, np.random.default_rng(seed), 0.1) for seed in range(300)]
    assert {len(kept) for kept in found} > {len(words)}
    share = np.mean([len(kept) / len(words) for kept in found])
    assert share == pytest.approx(0.9, abs=0.02)
    for kept in found:
        rest = iter(words)
        assert len(kept)
        assert all(word in rest for word in kept)


def test_without_word_dropout_every_word_stays(corpus):
    longest = int(np.argmax([len(words) for words in corpus.words]))
    for seed in range(20):
        assert corpus.dropped(longest, np.random.default_rng(seed), 0.0).tolist() == corpus.words[longest].tolist()


def test_of_a_long_text_some_words_in_a_row_are_drawn():
    text = " ".join(f"word{place}" for place in range(20))
    corpus = TextCorpus(text_frame(("a", "en", "name", text, "train")), NO_UTTERANCES, ["a"], tokenizer())
    found = [corpus.dropped(0, np.random.default_rng(seed), 0.1, window_words=8) for seed in range(200)]
    whole = corpus.words[0].tolist()
    first = {whole.index(kept[0]) for kept in found}
    assert min(first) == 0 and max(first) >= 12  # every place is reached
    assert all(whole.index(kept[-1]) - whole.index(kept[0]) < 8 for kept in found)
    assert max(len(corpus.dropped(0, np.random.default_rng(seed), 0.1)) for seed in range(20)) > 8


def test_a_text_is_related_to_its_items_and_those_with_the_same_words_in_another_role():
    rows = [("a", "en", "name", "cat", "train"), ("b", "de", "keyword", "Cat", "train")]
    rows += [("c", "en", "name", "dog", "train")]
    corpus = TextCorpus(text_frame(*rows), NO_UTTERANCES, ["a", "b", "c"], tokenizer())
    related = corpus.related(np.array([0, 2]), np.array([2, 1, 0]))
    assert related.tolist() == [[False, True, True], [True, False, False]]


def test_a_single_word_is_never_dropped():
    corpus = TextCorpus(text_frame(("a", "en", "name", "cat", "train")), NO_UTTERANCES, ["a"], tokenizer())
    assert all(len(corpus.dropped(0, np.random.default_rng(seed), 0.1)) == 1 for seed in range(50))


def test_idf_is_higher_for_rarer_ngrams():
    idf = ngram_idf([np.array([0, 1]), np.array([0, 2, 2]), np.array([0])], buckets=4)
    expected = np.log(4 / (1 + np.array([3, 1, 1, 0]))) + 1
    assert np.allclose(idf.numpy(), expected)


def mixed(tmp_path, temperature: float) -> TextCorpus:
    """Ninety English and ten German texts of photographs; ten texts of another origin, with a tenth of the weight."""
    rows = [(f"flickr:{n}", "en", "name", f"cat {n}", "train") for n in range(90)]
    rows += [(f"flickr:{n}", "de", "keyword", f"katze {n}", "train") for n in range(10)]
    rows += [(f"tatoeba:{n}", "en", "name", f"dog {n}", "train") for n in range(10)]
    write_mixture(tmp_path, {"flickr": 0.9, "tatoeba": 0.1}, temperature)
    items = sorted({row[0] for row in rows})
    return TextCorpus(text_frame(*rows), NO_UTTERANCES, items, tokenizer(), tables=tmp_path)


@pytest.mark.parametrize(("temperature", "german"), [(1.0, 0.09), (0.5, 0.225), (0.0, 0.45)])
def test_a_mixture_weighs_origins_and_balances_languages(tmp_path, temperature, german):
    corpus = mixed(tmp_path, temperature)
    drawn = [corpus.texts[number] for number in corpus.sample(20_000, np.random.default_rng(0))]
    share = {word: sum(text.startswith(word) for text in drawn) / len(drawn) for word in ("katze", "dog")}
    assert share == pytest.approx({"katze": german, "dog": 0.1}, abs=0.02)


def test_captions_are_drawn_of_the_item_alone(tmp_path):
    corpus = mixed(tmp_path, 0.0)
    item = corpus.item_ids.index("flickr:3")
    drawn = {corpus.texts[corpus.caption(item, np.random.default_rng(seed))] for seed in range(40)}
    assert drawn == {"cat 3", "katze 3"}
    assert corpus.has_caption(item)


def test_the_partner_of_a_text_is_an_english_one_of_its_item():
    rows = [
        ("a", "en", "name", "cat"), ("a", "en", "keyword", "kitty"), ("a", "en", "description", "cat: kitty"),
        ("a", "de", "name", "katze"), ("a", "fr", "keyword", "félin"),
        ("b", "de", "name", "hund"), ("b", "fr", "name", "chien"),
        ("c", "de", "description", "allein"),
    ]  # fmt: skip
    corpus = TextCorpus(text_frame(*((*row, "train") for row in rows)), NO_UTTERANCES, list("abc"), tokenizer())
    assert partners(corpus, "katze", "félin") == ({"cat", "kitty"}, {"a"})
    assert partners(corpus, "cat") == ({"kitty"}, {"a"})
    assert partners(corpus, "hund") == ({"hund", "chien"}, {"b"})
    assert partners(corpus, "allein") == ({"allein"}, {"c"})


def test_a_text_of_several_items_is_paired_with_each_of_them():
    rows = [("a", "en", "name", "cat", "train"), ("b", "en", "name", "lion", "train")]
    rows += [(item, "de", "keyword", "katze", "train") for item in "ab"]
    corpus = TextCorpus(text_frame(*rows), NO_UTTERANCES, list("ab"), tokenizer())
    assert partners(corpus, "katze") == ({"cat", "lion"}, {"a", "b"})


def partners(corpus: TextCorpus, *texts: str) -> tuple[set[str], set[str]]:
    """The partners that some texts are given, and the items they are said to be of."""
    numbers = np.array([corpus.texts.index(text) for text in texts for _ in range(60)])
    items, found = corpus.partners(numbers, np.random.default_rng(0))
    return {corpus.texts[number] for number in found}, {corpus.item_ids[item] for item in items}
