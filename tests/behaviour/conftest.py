"""The trained model to ask: that of profile `ci`, and the default one where `dvc repro` has made it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.system.checkout import ROOT, Project
from unimr.search.engine import SearchEngine

DEFAULT, CI = "demo", "ci"


@pytest.fixture(scope="session", params=[CI, DEFAULT])
def engine(request: pytest.FixtureRequest) -> Iterator[SearchEngine]:
    """A search engine over the published index of a profile."""
    if request.param == CI:
        made: Project = request.getfixturevalue("project")
        root = made.root
    else:
        root = ROOT
        if not (root / "published" / "current.json").exists():
            pytest.skip("the default catalogue is not trained here: `make demo` trains it")
    with SearchEngine.open(root) as opened:
        yield opened
