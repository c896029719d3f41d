"""Settings that must be made before any test imports torch, and the pipeline that several folders of tests use."""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from tests.system.checkout import Project, checkout, commit

# A shell has what it starts in the background ignore Ctrl-C, and so would all that the tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Where the browser's pictures go; without it, into a folder that pytest removes."""
    parser.addoption("--pictures", metavar="FOLDER", help="keep what the browser saw here")


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The pipeline, run from nothing with profile `ci`."""
    made = checkout(tmp_path_factory.mktemp("project"))
    started = time.perf_counter()
    made.run("dvc", "repro")
    seconds = time.perf_counter() - started
    commit(made)
    return Project(made.root, seconds)


PIPELINE = ("tests/behaviour/", "tests/system/", "tests/flows/test_pipeline.py", "tests/flows/test_refresh.py")
"""Where the fixture `project` is used."""


class FileScheduling(LoadScopeScheduling):
    """Side by side (`pytest -n 2`), a file stays whole, and so does all that uses the one pipeline.

    pytest 9.2 does not hand the groups of pytest-xdist 3.8 (`--dist loadgroup`) on.
    """

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return "pipeline" if path.startswith(PIPELINE) else path


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FileScheduling:
    """See `FileScheduling`."""
    return FileScheduling(config, log)
