from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from unimr.errors import UnimrError
from unimr.files import read_json
from unimr.index.build import build
from unimr.index.copies import PrivateCopy, remove_abandoned
from unimr.index.embed import embed
from unimr.index.publish import current_version, history, rollback, verify_version, versions_folder
from unimr.search.engine import SearchEngine

from .small_index import PROJECT, VERSION, WordEncoder, index_params, params, word_encoder, write_tables


def publish_changed(root, name: str) -> str:
    write_tables(root, changed_name=name)
    embed(params(), root, WordEncoder(), VERSION)
    return build(index_params(), root, WordEncoder(), VERSION, word_encoder)


def top_of(root, query: str) -> str:
    with SearchEngine.open(root, load=lambda folder: WordEncoder()) as engine:
        return engine.search(query).hits[0].title


def test_rollback_returns_to_the_version_before(published):
    first = current_version(published)
    second = publish_changed(published, "moggy")
    assert history(published) == [first, second]
    assert top_of(published, "moggy") == "moggy"
    done = rollback(published)
    assert (done.before, done.after) == (second, first)
    assert current_version(published) == first
    assert top_of(published, "cat") == "cat"


def test_rollback_without_a_version_before_is_an_error(published):
    with pytest.raises(UnimrError, match="no version before"):
        rollback(published)


def test_rollback_without_an_index_is_an_error(tmp_path):
    with pytest.raises(UnimrError, match="There is no index"):
        rollback(tmp_path)


def test_rollback_to_a_damaged_version_is_refused(published):
    first = current_version(published)
    second = publish_changed(published, "moggy")
    (versions_folder(published) / first / "items.json").write_text("{}")
    with pytest.raises(UnimrError, match=r"items\.json is missing or damaged"):
        rollback(published)
    assert current_version(published) == second


def test_only_the_newest_versions_are_kept(published):
    made = [current_version(published), *(publish_changed(published, name) for name in ("a1", "b2", "c3"))]
    assert history(published) == made[-3:]
    assert {path.name for path in versions_folder(published).iterdir()} == set(made[-3:])


def test_an_open_version_still_answers_after_it_was_removed(published):
    with SearchEngine.open(published, load=lambda folder: WordEncoder()) as engine:
        for name in ("a1", "b2", "c3"):
            publish_changed(published, name)
        hit = engine.search("cat").hits[0]
        assert (hit.title, hit.picture[:4]) == ("cat", b"\x89PNG")


@pytest.mark.parametrize("name", ["pictures.arrow", "lexical.safetensors", "slot_values.json"])
def test_a_bit_flipped_file_is_named_on_opening(published, name):
    path = versions_folder(published) / current_version(published) / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(UnimrError, match=name):
        SearchEngine.open(published, load=lambda folder: WordEncoder())


BUILD = """
import sys
from pathlib import Path
from tests.index.small_index import VERSION, WordEncoder, index_params, word_encoder
from unimr.index.build import build
print("ready", flush=True)
build(index_params(), Path(sys.argv[1]), WordEncoder(), VERSION, word_encoder)
print("done", flush=True)
"""


def start_build(root):
    process = subprocess.Popen([sys.executable, "-c", BUILD, str(root)], stdout=subprocess.PIPE, text=True, cwd=PROJECT)
    assert process.stdout.readline() == "ready\n"
    return process


def test_kill_at_any_moment_leaves_the_old_or_the_new_version_whole(published, tmp_path):
    old = current_version(published)
    write_tables(published, changed_name="moggy")
    embed(params(), published, WordEncoder(), VERSION)
    undisturbed = shutil.copytree(published, tmp_path / "undisturbed")
    process, started = start_build(undisturbed), time.perf_counter()
    assert process.communicate()[0] == "done\n"
    duration, new = time.perf_counter() - started, current_version(undisturbed)
    rng = random.Random(0)
    for _ in range(5):
        process = start_build(published)
        time.sleep(duration * rng.uniform(0.1, 1.0))
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        live = current_version(published)
        assert live in (old, new)
        verify_version(versions_folder(published) / live)
        assert top_of(published, "dog") == "dog"
    build(index_params(), published, WordEncoder(), VERSION, word_encoder)
    assert current_version(published) == new
    assert not list(versions_folder(published).glob("*.tmp-*"))


SEARCH = """
import sys
from pathlib import Path
from tests.index.small_index import WordEncoder, word_encoder
from unimr.search.engine import SearchEngine
with SearchEngine.open(Path(sys.argv[1]), load=lambda folder: WordEncoder()) as engine:
    print("open", flush=True)
    for line in sys.stdin:
        print(engine.search(line.strip()).hits[0].title, flush=True)
"""


def test_several_processes_search_one_version_at_once_and_the_copies_of_killed_ones_go(published):
    def start():
        return subprocess.Popen(
            [sys.executable, "-c", SEARCH, str(published)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=PROJECT,
        )  # fmt: skip

    readers = [start(), start()]
    assert [reader.stdout.readline() for reader in readers] == ["open\n", "open\n"]
    assert top_of(published, "cat") == "cat"
    for reader in readers:
        reader.stdin.write("dog\n")
        reader.stdin.flush()
        assert reader.stdout.readline() == "dog\n"
    readers[0].kill()
    readers[0].communicate()
    place = published / "published/open"
    assert len(list(place.glob("*.lock"))) == 2
    assert top_of(published, "cat") == "cat"
    assert len(list(place.glob("*.lock"))) == 1  # that of the one that lives
    readers[1].communicate("cat\n", timeout=30)
    assert list(place.iterdir()) == []


def test_a_copy_is_private_and_goes_when_closed(tmp_path):
    (tmp_path / "a.db").mkdir()
    (tmp_path / "a.db/file").write_text("x")
    copy = PrivateCopy(tmp_path / "a.db", tmp_path / "open")
    (copy.path / "file").write_text("changed")
    remove_abandoned(tmp_path / "open")
    assert (copy.path / "file").exists() and (tmp_path / "a.db/file").read_text() == "x"
    copy.close()
    assert list((tmp_path / "open").iterdir()) == []


def test_the_pointer_names_the_live_version(published):
    pointer = read_json(published / "published/current.json")
    assert pointer["version"] == pointer["history"][-1] == current_version(published)
