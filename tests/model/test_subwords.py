from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.model.checkpoints import TEXT_KINDS, make_tokenizer
from unimr.data.text import segment
from unimr.errors import UnimrError
from unimr.model.subwords import SubwordTokenizer, read_tokenizer
from unimr.model_params import HfTextParams

TEXTS = [
    "a red cat",
    "show me 赤い猫を見せて, please.",
    "",
    "!?",
    "STRASSE straße",
    "one two three four five six seven",
]


def params_of(folder, **changes) -> HfTextParams:
    return HfTextParams(**{"kind": "hf", "name": str(folder), "max_tokens": 24} | changes)


@pytest.fixture(scope="module", params=TEXT_KINDS)
def folder(request, tmp_path_factory):
    return make_tokenizer(tmp_path_factory.mktemp("tokenizer") / request.param, request.param)


@pytest.fixture
def tokenizer(folder) -> SubwordTokenizer:
    return read_tokenizer(params_of(folder))


def plain(folder, text):
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text).ids


def ids_of(batch, row=0):
    part = batch.parts[0]
    return part.ids[row][part.attention[row]].tolist()


def test_there_is_a_number_for_every_word_that_slots_know(tokenizer):
    for text in TEXTS:
        assert len(tokenizer.words(text)) == max(1, len(segment(text)))


@pytest.mark.parametrize("text", ["a red cat", "show me 赤い猫を見せて, please.", "", "!?", "strasse strasse"])
def test_a_text_is_cut_as_the_checkpoint_cuts_it(folder, tokenizer, text):
    assert ids_of(tokenizer.batch([tokenizer.words(text)])) == plain(folder, text)


def test_case_makes_no_difference(tokenizer):
    batch = tokenizer.batch([tokenizer.words("Straße RED"), tokenizer.words("STRASSE red")])
    assert ids_of(batch, 0) == ids_of(batch, 1)


def test_every_sub_word_but_the_marks_belongs_to_a_word_and_the_shares_of_a_word_sum_to_one(tokenizer):
    for text in ("a red cat", "show me 赤い猫を見せて, please.", "!?"):
        members = tokenizer.batch([tokenizer.words(text)]).parts[0].members
        assert torch.allclose(members.sum(-1), torch.ones_like(members.sum(-1)))
        owned = (members[0] > 0).any(0)
        assert owned.tolist() == [False, *[True] * (len(owned) - 2), False]


def test_words_follow_the_order_of_the_text(tokenizer):
    members = tokenizer.batch([tokenizer.words("show me a red cat")]).parts[0].members[0]
    firsts = (members > 0).float().argmax(-1).tolist()
    assert firsts == sorted(firsts)


def test_a_word_left_out_takes_only_its_own_sub_words_with_it(tokenizer):
    words = tokenizer.words("show me a red cat")
    without = tokenizer.batch([np.delete(words, 3)])
    assert ids_of(without) == ids_of(tokenizer.batch([tokenizer.words("show me a cat")]))


def test_padding_changes_no_row_and_training_batches_have_few_shapes(tokenizer):
    short, long = tokenizer.words("cat"), tokenizer.words(TEXTS[-1])
    both = tokenizer.batch([short, long], few_shapes=True)
    assert both.layout.mask.shape[1] % 4 == both.parts[0].ids.shape[1] % 8 == 0
    assert ids_of(both, 0) == ids_of(tokenizer.batch([short]))
    assert both.layout.mask.sum(1).tolist() == [1, 7]


def test_long_texts_are_cut_and_keep_their_marks(folder):
    tokenizer = read_tokenizer(params_of(folder, max_tokens=6))
    batch = tokenizer.batch([tokenizer.words(TEXTS[-1])])
    found, whole = ids_of(batch), plain(folder, TEXTS[-1])
    assert len(found) == 6
    assert found == [*whole[:5], whole[-1]]
    assert batch.layout.mask.sum() == 6  # words beyond are empty, and still there for their slots


def test_a_prefix_stands_before_every_text_and_belongs_to_no_word(folder):
    tokenizer = read_tokenizer(params_of(folder, prefix="query: "))
    batch = tokenizer.batch([tokenizer.words("cat")])
    prefix = plain(folder, "query:")[1:-1]
    assert ids_of(batch)[1 : 1 + len(prefix)] == prefix
    assert not (batch.parts[0].members[0, 0, : 1 + len(prefix)] > 0).any()


def test_words_are_forgotten_on_request_and_come_back(tokenizer):
    before = ids_of(tokenizer.batch([tokenizer.words("red cat")]))
    tokenizer.forget()
    assert tokenizer.size == 0
    assert ids_of(tokenizer.batch([tokenizer.words("red cat")])) == before


def test_a_prefix_that_leaves_no_room_is_an_error(folder):
    with pytest.raises(UnimrError, match="max_tokens is 4: nothing is left"):
        read_tokenizer(params_of(folder, max_tokens=4, prefix="query: show me a red cat"))


def test_a_folder_without_a_tokenizer_is_named(tmp_path):
    with pytest.raises(UnimrError, match=r"The folder .*nothing does not exist"):
        read_tokenizer(params_of(tmp_path / "nothing"))
    (tmp_path / "bare").mkdir()
    with pytest.raises(UnimrError, match=r"model\.text: the tokenizer of .*bare cannot be used"):
        read_tokenizer(params_of(tmp_path / "bare"))


def test_a_damaged_tokenizer_is_named(folder, tmp_path):
    (tmp_path / "tokenizer.json").write_text((folder / "tokenizer.json").read_text()[:200])
    with pytest.raises(UnimrError, match=r"The tokenizer .*tokenizer\.json is damaged"):
        read_tokenizer(params_of(tmp_path))


@pytest.mark.parametrize("own", [slice(0, 2), slice(1, 3), slice(2, 4), slice(3, 9)])
def test_some_rows_of_a_batch_in_parts_are_those_of_their_texts(tokenizer, own):
    words = sorted((tokenizer.words(text) for text in ("cat", "a red cat", "red", TEXTS[-1])), key=len)
    rows, whole = tokenizer.batch(words, cuts=[2], few_shapes=True).rows(own), tokenizer.batch(words)
    assert [len(part.ids) for part in rows.parts] == np.diff(rows.layout.bounds).tolist()
    found = [part.ids[row][part.attention[row]].tolist() for part in rows.parts for row in range(len(part.ids))]
    assert found == [ids_of(whole, row) for row in range(4)[own]]
    assert [part.members.shape[1] for part in rows.parts] == list(rows.layout.widths)
