from __future__ import annotations

import os

import pytest

from unimr.data.images import MAX_BYTES, open_picture, read_picture_file
from unimr.errors import UnimrError

from .small_sources import png


def test_the_bytes_are_those_of_the_file(tmp_path):
    (tmp_path / "a.png").write_bytes(png("red"))
    assert read_picture_file(tmp_path / "a.png") == png("red")
    assert open_picture(png("red", side=20)).size == (20, 20)


def test_a_file_is_read_up_to_its_bound(tmp_path):
    with (tmp_path / "big").open("wb") as handle:
        handle.truncate(3 * MAX_BYTES)
    with pytest.raises(UnimrError, match=f"{3 * MAX_BYTES:,} bytes; at most {MAX_BYTES:,}"):
        read_picture_file(tmp_path / "big")


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, message in (("gone", "There is no file"), ("", "is not a file"), ("pipe", "is not a file")):
        with pytest.raises(UnimrError, match=message):
            read_picture_file(tmp_path / path)


def test_a_path_that_no_system_takes_is_refused(tmp_path):
    with pytest.raises(UnimrError, match="cannot be read"):
        read_picture_file(tmp_path / ("x" * 5000))
