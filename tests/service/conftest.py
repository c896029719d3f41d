from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from unimr.config import load_params
from unimr.index.build import build
from unimr.index.embed import embed
from unimr.params import ServeParams
from unimr.service.app import create_app
from unimr.service.service import Service

from ..index.small_index import (
    PROJECT,
    VERSION,
    WordEncoder,
    index_params,
    params,
    word_encoder,
    write_root,
    write_tables,
)


@pytest.fixture(scope="session")
def small_root(tmp_path_factory) -> Path:
    """A project with a published index; do not change it."""
    root = tmp_path_factory.mktemp("small")
    write_root(root)
    publish_again(root)
    return root


@pytest.fixture
def own_root(small_root, tmp_path) -> Path:
    """A copy of it, to change."""
    shutil.copytree(small_root, tmp_path / "project", ignore=shutil.ignore_patterns("open"))
    return tmp_path / "project"


def publish_again(root: Path, changed_name: str | None = None) -> str:
    """Build and publish what the tables hold; `changed_name` renames the cat."""
    write_tables(root, changed_name)
    embed(params(), root, WordEncoder(), VERSION)
    return build(index_params(), root, WordEncoder(), VERSION, word_encoder)


def serve_params(folder: Path, **changes: object) -> ServeParams:
    """The committed section `serve`, with the query log in `folder` and quick looks for a new version."""
    section = load_params(PROJECT).serve
    log = section.query_log.model_copy(update={"file": str(folder / "logs/queries.db")})
    return section.model_copy(update={"query_log": log, "poll_seconds": 0.05, **changes})


def client_of(service: Service) -> TestClient:
    return TestClient(create_app(service), base_url="http://localhost", raise_server_exceptions=False)


@pytest.fixture
def service(small_root, tmp_path) -> Service:
    return Service(serve_params(tmp_path), small_root, {}, word_encoder)


@pytest.fixture
def client(service) -> Iterator[TestClient]:
    with client_of(service) as opened:
        yield opened
