from __future__ import annotations

import math

import numpy as np
import pytest

from unimr.monitoring.traffic import Reader, Traffic, answered, bounded, encode_once, ngrams, read_window
from unimr.search.engine import SearchEngine

from ..index.small_index import WordEncoder, word_encoder
from .conftest import ask, traffic_of
from .made_up import traffic


@pytest.fixture
def engine(project):
    with SearchEngine.open(project, word_encoder) as opened:
        yield opened


def test_ngrams_mark_the_ends_of_a_word():
    assert ngrams("cat") == ("<ca", "cat", "at>")
    assert ngrams("猫") == ("<猫>",)


def test_unknown_ngrams_and_words_are_those_that_the_index_lacks(engine):
    reader = Reader(engine)

    def unknown(text: str, *subjects: str) -> tuple[float, float]:
        row = reader.row("s", text, ("en", "find_image", 0.9), (0.5, 0.1), subjects, ["cat"])
        return row[8], row[9]

    assert unknown("cat", "cat") == (0, 0)
    assert unknown("xyzzy", "xyzzy") == (1, 1)
    assert unknown("cat xyzzy", "cat xyzzy")[1] == 0.5
    assert math.isnan(unknown("cat")[1])


def test_a_row_says_what_was_answered(engine):
    row = Reader(engine).row("s", "cat", ("en", "find_image", 0.9), (None, None), (), [])
    assert row[7] is True and row[10] == "nothing"
    assert math.isnan(row[5])
    assert Reader(engine).row("s", "cat", ("en", "find_image", 0.9), (0.5, 0.1), (), ["cat"])[10] == "Animals & Nature"
    assert Reader(engine).row("s", "cat", ("en", "find_image", 0.9), (0.5, 0.1), (), ["gone"])[10] == ""


def test_asking_gives_what_the_log_gives(project, engine):
    """The reference and the window must not differ by how they were made."""
    asked = traffic_of(project, "none", 40)
    ask(project, asked)
    window = read_window(project / "logs/queries.db", engine, 0.0, 1000, 1000).traffic
    given = answered(engine, [each.session for each in asked], [each.text for each in asked])
    for column in ("session", "text", "lang", "intent", "zero_results", "unknown_ngrams", "answered_with", "results"):
        assert window.rows[column].tolist() == given.rows[column].tolist(), column
    np.testing.assert_allclose(window.rows["similarity"], given.rows["similarity"], atol=1e-5)
    np.testing.assert_allclose(window.vectors, given.vectors, atol=1e-6)


def test_bounds_keep_whole_sessions_and_cut_long_ones():
    sessions = ["a"] * 50 + ["b"] * 3 + ["c"] * 3 + ["d"] * 3
    kept = bounded(sessions, 10, 4)
    names = [sessions[place] for place in kept]
    assert names.count("a") in (0, 4)
    assert all(names.count(name) in (0, 3) for name in "bcd")
    assert 10 <= len(kept) <= 13
    assert bounded(sessions, 10, 4) == kept == sorted(kept)


def test_equal_texts_are_encoded_once():
    calls = []

    def encode(texts):
        calls.append(list(texts))
        return WordEncoder().encode_texts(texts)

    vectors = encode_once(["Cat", "dog", "cat ", "CAT"], encode)
    assert calls == [["Cat", "dog"]]
    assert (vectors[0] == vectors[2]).all() and (vectors[0] == vectors[3]).all()


def test_traffic_is_written_and_read(tmp_path):
    made = traffic(1, 20)
    made.save(tmp_path / "traffic.parquet")
    read = Traffic.load(tmp_path / "traffic.parquet")
    assert read.rows.to_dict("list") == made.rows.to_dict("list")
    np.testing.assert_array_equal(read.vectors, made.vectors)
    Traffic(made.rows, None).save(tmp_path / "traffic.parquet")
    assert Traffic.load(tmp_path / "traffic.parquet").vectors is None
