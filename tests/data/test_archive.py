from __future__ import annotations

import pytest

from unimr.data.archive import read_members
from unimr.errors import UnimrError

from .small_sources import write_archive

MEMBERS = {"a/one.txt": b"1", "a/two.txt": b"22", "three.txt": b""}


def test_only_the_named_members_are_read(tmp_path):
    write_archive(tmp_path / "x.tar", MEMBERS)
    assert read_members(tmp_path / "x.tar", ["a/two.txt", "three.txt", "gone"]) == {
        "a/two.txt": b"22",
        "three.txt": b"",
    }


def test_the_same_members_give_the_same_bytes(tmp_path):
    for name in ("x.tar", "y.tar"):
        write_archive(tmp_path / name, MEMBERS)
    assert (tmp_path / "x.tar").read_bytes() == (tmp_path / "y.tar").read_bytes()


def test_a_missing_or_damaged_archive_is_named(tmp_path):
    with pytest.raises(UnimrError, match=r"x.tar does not exist"):
        read_members(tmp_path / "x.tar", ["a"])
    (tmp_path / "x.tar").write_bytes(b"no tar" * 300)
    with pytest.raises(UnimrError, match=r"x.tar is damaged"):
        read_members(tmp_path / "x.tar", ["a"])
