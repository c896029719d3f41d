from __future__ import annotations

import errno
import hashlib
import os
import re
import subprocess

import pytest

from unimr.errors import UnimrError
from unimr.files import atomic_file, atomic_folder, read_json, sha256_of, write_json, write_text


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_whole(tmp_path):
    with atomic_file(tmp_path / "new" / "a.txt") as temporary:
        temporary.write_text("one")
        assert not (tmp_path / "new" / "a.txt").exists()
    assert (tmp_path / "new" / "a.txt").read_text() == "one"
    assert names(tmp_path / "new") == ["a.txt"]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    write_text(tmp_path / "a.txt", "old")
    with pytest.raises(KeyError), atomic_file(tmp_path / "a.txt") as temporary:
        temporary.write_text("new")
        raise KeyError
    assert (tmp_path / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_folder_takes_the_place_of_the_old_one(tmp_path):
    for text in ("old", "new"):
        with atomic_folder(tmp_path / "model") as temporary:
            (temporary / text).mkdir()
            (temporary / text / "a.txt").write_text(text)
    assert names(tmp_path) == ["model"]
    assert names(tmp_path / "model") == ["new"]


def test_an_error_leaves_the_old_folder_and_nothing_else(tmp_path):
    with atomic_folder(tmp_path / "model") as temporary:
        (temporary / "a.txt").write_text("old")
    with pytest.raises(KeyError), atomic_folder(tmp_path / "model") as temporary:
        (temporary / "a.txt").write_text("new")
        raise KeyError
    assert (tmp_path / "model" / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["model"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("call", ["fsync", "write"])
def test_a_full_disk_is_explained_and_leaves_nothing(tmp_path, monkeypatch, code, call):
    def full(*_, **__):
        raise OSError(code, os.strerror(code))

    write_text(tmp_path / "a.txt", "old")
    with monkeypatch.context() as patched:
        if call == "fsync":
            patched.setattr(os, "fsync", full)
        else:
            patched.setattr("pathlib.Path.write_text", full)
        with pytest.raises(UnimrError, match=rf"No space is left .*{re.escape(str(tmp_path / 'a.txt'))}"):
            write_text(tmp_path / "a.txt", "new")
        with (
            pytest.raises(UnimrError, match="No space is left"),
            atomic_folder(tmp_path / "model") as temporary,
        ):
            (temporary / "b.txt").write_text("new")
    assert (tmp_path / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_other_errors_of_the_system_stay_what_they_are(tmp_path, monkeypatch):
    def denied(*_):
        raise PermissionError(errno.EACCES, "denied")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", denied)
        with pytest.raises(PermissionError):
            write_text(tmp_path / "a.txt", "new")
    assert names(tmp_path) == []


def test_the_same_value_gives_the_same_json(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1, "a": ["ü", 0.1]})
    write_json(tmp_path / "b.json", {"a": ["ü", 0.1], "b": 1})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert text == (tmp_path / "b.json").read_text(encoding="utf-8")
    assert text == '{\n  "a": [\n    "ü",\n    0.1\n  ],\n  "b": 1\n}\n'
    assert read_json(tmp_path / "a.json") == {"a": ["ü", 0.1], "b": 1}


def test_what_cannot_be_json_leaves_the_old_file(tmp_path):
    write_json(tmp_path / "a.json", 1)
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", object())
    assert read_json(tmp_path / "a.json") == 1


def test_missing_and_broken_json_are_named(tmp_path):
    with pytest.raises(UnimrError, match=r"a\.json does not exist"):
        read_json(tmp_path / "a.json")
    for data in (b'{"a": ', b"\xff\xfe"):
        (tmp_path / "a.json").write_bytes(data)
        with pytest.raises(UnimrError, match=r"a\.json is not valid JSON"):
            read_json(tmp_path / "a.json")


def test_sha256_of_a_file(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_of(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()


def test_what_a_killed_process_left_is_removed(tmp_path):
    dead = subprocess.Popen(["true"])
    dead.wait()
    (tmp_path / f"model.tmp-{dead.pid}").mkdir()
    (tmp_path / f"model.tmp-{os.getppid()}").mkdir()  # of a process that runs
    with atomic_folder(tmp_path / "model") as folder:
        (folder / "weights").write_text("w", encoding="utf-8")
    assert names(tmp_path) == ["model", f"model.tmp-{os.getppid()}"]
