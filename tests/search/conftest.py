from __future__ import annotations

from pathlib import Path

import pytest

from unimr.index.build import build
from unimr.index.embed import embed
from unimr.search.engine import SearchEngine

from ..index.small_index import VERSION, WordEncoder, index_params, params, word_encoder, write_root


@pytest.fixture(scope="session")
def published_root(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("published")
    write_root(root)
    embed(params(), root, WordEncoder(), VERSION)
    build(index_params(), root, WordEncoder(), VERSION, word_encoder)
    return root


@pytest.fixture(scope="session")
def engine(published_root):
    with SearchEngine.open(published_root, load=lambda folder: WordEncoder()) as opened:
        yield opened


def titles(answer) -> list[str]:
    return [hit.title for hit in answer.hits]
