"""Settings that must be made before any test imports torch, and the pipeline that several folders of tests use."""

from __future__ import annotations

import os
import time

import pytest

from tests.system.checkout import Project, checkout, commit

# As the command line does: threads that spin while they wait starve each other on a busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


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


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Side by side (`pytest -n 2 --dist loadgroup`), a file stays whole, and so do all tests of the one pipeline."""
    for item in items:
        shared = {"project", "engine"} & {*getattr(item, "fixturenames", ())}
        group = "pipeline" if shared else item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group(group))
