"""What broken, huge and hostile files get: a note with file and line, and the rest is read."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from unimr.data.published import reading
from unimr.data.published.sources import READERS, data_root, read_all, read_sources
from unimr.errors import UnimrError
from unimr.params import DataParams, SourceParams

from .conftest import bad, texts

GOOD = "5_a.jpg#0\tA cat ."


def test_broken_lines_are_noted_with_their_number_and_the_rest_is_read(read):
    lines = [GOOD, "1_a.jpg#0\t\xff", "2_a.jpg#0\t", f"3_a.jpg#0\t{'x' * 2**20}", "4_a.jpg#0\ta\x00b", "6_a.jpg#0\tB"]
    data = read({"Flickr8k.token.txt": "\n".join(lines).encode("latin-1") + b"\n"})
    assert [text for _, _, _, text, _ in texts(data)] == ["A cat .", "B"]
    assert sorted((line, reason[:15]) for _, line, reason in bad(data)) == [
        (2, "the line is not"),
        (3, "the text is emp"),
        (4, "the line has mo"),
        (5, "the character U"),
    ]


def test_a_cut_gzip_file_is_read_as_far_as_it_goes(read):
    whole = gzip.compress("\n".join(f"{number}_a.jpg#0\tcaption {number * 7919}" for number in range(5000)).encode())
    data = read({"flickr30k/captions.txt.gz": whole[: len(whole) // 2], "Flickr8k.token.txt": [GOOD]})
    assert 1000 < len(data.texts) < 5000
    assert "cannot be read from here on" in bad(data)[0][2]


def test_a_file_that_unpacks_without_end_is_stopped(read, monkeypatch):
    monkeypatch.setattr(reading, "MAX_LINES_BYTES", 1000)
    data = read({"Flickr8k.token.txt": [f"{number}_a.jpg#0\tA cat {number}." for number in range(100)]})
    assert len(data.texts) < 60
    assert "goes on after 1,000 bytes" in bad(data)[0][2]


def test_a_folder_that_is_missing_or_holds_nothing_is_an_error(tmp_path: Path):
    with pytest.raises(UnimrError, match="There is no folder"):
        read_all(tmp_path / "nowhere")
    with pytest.raises(UnimrError, match=r"Nothing in .* is in a published format"):
        read_all(tmp_path)


def test_sources_are_read_below_their_roots(tmp_path: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "Flickr8k.token.txt").write_text(GOOD + "\n")
    data = read_sources(tmp_path, [SourceParams(name="flickr", root="a")])
    assert data.counts == {"flickr": 1}
    with pytest.raises(UnimrError, match=r"data.sources: massive has no record in .*/a"):
        read_sources(tmp_path, [SourceParams(name="massive", root="a")])


def test_the_root_comes_from_the_environment_or_the_parameters(tmp_path: Path, monkeypatch):
    monkeypatch.delenv("UNIMR_DATA", raising=False)
    with pytest.raises(UnimrError, match="UNIMR_DATA"):
        data_root(DataParams(root="", sources=[], language_temperature=1.0), tmp_path)
    assert data_root(DataParams(root="sets", sources=[], language_temperature=1.0), tmp_path) == tmp_path / "sets"
    monkeypatch.setenv("UNIMR_DATA", "/elsewhere")
    assert data_root(DataParams(root="sets", sources=[], language_temperature=1.0), tmp_path) == Path("/elsewhere")


def test_every_name_of_the_parameters_has_a_reader():
    assert set(SourceParams.model_fields["name"].annotation.__args__) == set(READERS)
