"""A small published project with test queries, and a query log to fill."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from unimr.config import load_params
from unimr.data.tables import write_table
from unimr.index.build import build
from unimr.index.embed import embed
from unimr.monitoring.scenarios import Asked, Pool, play
from unimr.params import Params
from unimr.search.answer import SearchAnswer
from unimr.search.engine import SearchEngine
from unimr.search.query import Query
from unimr.service.querylog import QueryLog

from ..index.small_index import (
    PROJECT,
    VERSION,
    WordEncoder,
    all_items,
    index_params,
    params,
    word_encoder,
    write_root,
)

PHRASES = {
    "en": ("{}", "{} please", "a nice {}", "what is {}", "all {}"),
    "de": ("{}", "{} bitte", "ein {}", "suche {}"),
    "ja": ("{}", "{} ください"),
}


def write_queries(root: Path) -> None:
    """The tables `queries` and `qrels`: names in phrases, and names in a language that is never trained."""
    queries, qrels = [], []
    for item, values in all_items().items():
        asked = [("name_to_name", lang, phrase.format(values[lang])) for lang in PHRASES for phrase in PHRASES[lang]]
        asked += [("untrained_name_to_name", "sw", f"ki{item}u {number}") for number in range(3)]
        for task, lang, text in asked:
            query_id = f"{task}/{lang}/{len(queries)}"
            queries.append((query_id, task, lang, text, None, "test"))
            qrels.append((query_id, item, 1))
    columns = ["query_id", "task", "lang", "text", "image_id", "split"]
    write_table(root / "data/validated", "queries", pd.DataFrame(queries, columns=columns))
    write_table(root / "data/validated", "qrels", pd.DataFrame(qrels, columns=["query_id", "item_id", "relevance"]))


def write_published(root: Path) -> Path:
    """A project with a published index and test queries."""
    write_root(root)
    write_queries(root)
    embed(params(), root, WordEncoder(), VERSION)
    build(index_params(), root, WordEncoder(), VERSION, word_encoder)
    shutil.copy(PROJECT / "params.yaml", root)
    shutil.copytree(PROJECT / "profiles", root / "profiles")
    return root


@pytest.fixture(scope="session")
def watched_root(tmp_path_factory) -> Path:
    """Such a project; do not change it."""
    return write_published(tmp_path_factory.mktemp("watched"))


@pytest.fixture
def project(watched_root, tmp_path) -> Path:
    """A copy of it, to change."""
    shutil.copytree(watched_root, tmp_path / "project", ignore=shutil.ignore_patterns("open"))
    return tmp_path / "project"


def small_params(**changes: object) -> Params:
    """The committed parameters, for little traffic."""
    given = load_params(PROJECT)
    usual = {"permutations": 4_999, "reference_queries": 600, "min_queries": 100, "min_sessions": 30}
    drift = given.monitor.drift.model_copy(update=usual | changes)
    return given.model_copy(update={"monitor": given.monitor.model_copy(update={"drift": drift})})


def traffic_of(root: Path, scenario: str, queries: int = 300, share: float = 0.3, seed: int = 1) -> list[Asked]:
    return play(scenario, Pool.load(root / "data/validated"), queries, share, seed)


def ask(
    root: Path,
    asked: Sequence[Asked],
    changed: Callable[[SearchAnswer], SearchAnswer] = lambda answer: answer,
    kind: str = "text",
    store_text: bool = True,
) -> None:
    """Answer queries and log them, as the service does; `changed` makes the answers what a test needs."""
    settings = load_params(PROJECT).serve.query_log.model_copy(update={"store_text": store_text})
    log = QueryLog(settings, root, lambda count: None, lambda count: None)
    with SearchEngine.open(root, word_encoder) as engine:
        engine.hold_in_memory()
        for each in asked:
            (answer,) = engine.search_many([Query(each.text)])
            log.add(changed(answer), kind, 1.0, each.session)
    log.close()


def without_scores(answer: SearchAnswer) -> SearchAnswer:
    return replace(answer, similarity=float("nan"), margin=float("nan"))
