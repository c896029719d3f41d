"""Traffic that is made up: sessions of test queries, and ways in which they can change.

A session is of one language. How many queries it has is geometric, as most people ask once or twice and a few go on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pandas as pd
import yaml

from unimr.data.tables import item_attributes, read_table
from unimr.errors import UnimrError

Scenario = Literal["none", "new-language", "new-topic", "noise", "seasonal", "chatty-client"]
SCENARIOS: tuple[str, ...] = get_args(Scenario)
TASKS = ("intent_to_item", "intent_distractor_to_item", "keyword_to_item", "name_to_name", "unseen_item_to_image")
"""Tasks whose queries are what users type; each is as frequent as the others."""
UNTRAINED = "untrained_name_to_name"
MEAN_LENGTH, MAX_LENGTH = 2.5, 20
"""Queries of a session."""
TOPIC = Path(__file__).parent / "topics" / "minerals.yaml"
NOISE = 0.25
"""Share of characters that a bad keyboard changes."""
CHATTY_SHARE = 0.4
"""Share of all queries that the busy client sends."""


@dataclass(frozen=True)
class Asked:
    """A query of a session."""

    session: str
    lang: str
    text: str


@dataclass(frozen=True)
class Pool:
    """Queries to draw from: `known` are those of the trained languages, `untrained` those of languages never trained.

    Columns: `task, lang, text, category`.
    """

    known: pd.DataFrame
    untrained: pd.DataFrame

    @classmethod
    def load(cls, tables: Path) -> Pool:
        """The test queries of the tables.

        Raises:
            UnimrError: a table is missing, or it has no such queries.
        """
        queries = read_table(tables, "queries", ["query_id", "task", "lang", "text"])
        relevant = read_table(tables, "qrels").drop_duplicates("query_id").set_index("query_id")["item_id"]
        category = {
            item: each.get("category", "")
            for item, each in item_attributes(read_table(tables, "images", ["item_id", "attributes"])).items()
        }
        queries["category"] = queries["query_id"].map(relevant).map(category).fillna("")
        known = queries[queries["task"].isin(TASKS)].reset_index(drop=True)
        if known.empty:
            raise UnimrError(f"The tables in {tables} have no test queries to make traffic of.")
        return cls(known, queries[queries["task"] == UNTRAINED].reset_index(drop=True))


def sessions(queries: pd.DataFrame, wanted: int, rng: np.random.Generator, name: str = "s") -> list[Asked]:
    """Draw whole sessions until there are `wanted` queries; the last one is cut."""
    groups: dict[str, list[np.ndarray]] = {}
    for (lang, _), texts_of_task in queries.groupby(["lang", "task"])["text"]:
        groups.setdefault(str(lang), []).append(texts_of_task.to_numpy())
    langs = sorted(groups)
    made: list[Asked] = []
    number = 0
    while len(made) < wanted:
        lang = langs[rng.integers(len(langs))]
        for _ in range(min(int(rng.geometric(1 / MEAN_LENGTH)), MAX_LENGTH, wanted - len(made))):
            texts = groups[lang][rng.integers(len(groups[lang]))]
            made.append(Asked(f"{name}{number}", lang, str(texts[rng.integers(len(texts))])))
        number += 1
    return made


def play(scenario: str, pool: Pool, wanted: int, share: float, seed: int) -> list[Asked]:
    """The queries of a scenario, sessions in a random order; `share` is that of the queries that are other than usual.

    Raises:
        UnimrError: there is no such scenario, or the tables have nothing to make it of.
    """
    if scenario not in SCENARIOS:
        raise UnimrError(f"There is no scenario {scenario!r}. There are: {', '.join(SCENARIOS)}.")
    rng = np.random.default_rng([seed, SCENARIOS.index(scenario)])
    share = {"none": 0.0, "chatty-client": CHATTY_SHARE}.get(scenario, share)
    changed = round(wanted * share)
    usual = sessions(pool.known, wanted - changed, rng)
    others = _OTHERS[scenario](pool, changed, rng) if changed else []
    return _shuffled([*usual, *others], rng)


def _shuffled(asked: Sequence[Asked], rng: np.random.Generator) -> list[Asked]:
    place = {name: float(rng.random()) for name in dict.fromkeys(each.session for each in asked)}
    return sorted(asked, key=lambda each: place[each.session])


def _new_language(pool: Pool, wanted: int, rng: np.random.Generator) -> list[Asked]:
    if pool.untrained.empty:
        raise UnimrError("The tables have no language that was never trained (prepare.untrained_languages).")
    langs = sorted(pool.untrained["lang"].unique())
    one = pool.untrained[pool.untrained["lang"] == langs[rng.integers(len(langs))]]
    return sessions(one, wanted, rng, "foreign")


def _new_topic(_: Pool, wanted: int, rng: np.random.Generator) -> list[Asked]:
    return sessions(topic_queries(), wanted, rng, "topic")


def _noise(pool: Pool, wanted: int, rng: np.random.Generator) -> list[Asked]:
    return [Asked(each.session, each.lang, noisy(each.text)) for each in sessions(pool.known, wanted, rng, "noisy")]


def _seasonal(pool: Pool, wanted: int, rng: np.random.Generator) -> list[Asked]:
    categories = sorted(set(pool.known["category"]) - {""})
    if not categories:
        raise UnimrError("The items of the tables have no categories to make a season of.")
    chosen = pool.known[pool.known["category"] == categories[rng.integers(len(categories))]]
    return sessions(chosen, wanted, rng, "season")


def _chatty(pool: Pool, wanted: int, rng: np.random.Generator) -> list[Asked]:
    """One client that asks the same few things again and again."""
    few = pool.known.iloc[rng.integers(len(pool.known), size=5)]
    places = rng.integers(len(few), size=wanted)
    return [Asked("chatty", str(few["lang"].iloc[place]), str(few["text"].iloc[place])) for place in places]


_OTHERS: dict[str, Callable[[Pool, int, np.random.Generator], list[Asked]]] = {
    "none": lambda pool, wanted, rng: sessions(pool.known, wanted, rng),
    "new-language": _new_language,
    "new-topic": _new_topic,
    "noise": _noise,
    "seasonal": _seasonal,
    "chatty-client": _chatty,
}


def noisy(text: str) -> str:
    """A text in which some characters are missing, doubled or exchanged with the next; the same for the same text."""
    rng = np.random.default_rng(list(text.encode()))
    letters, place = list(text), 0
    while place < len(letters):
        if rng.random() < NOISE:
            match int(rng.integers(3)):
                case 0:
                    letters[place] = ""
                case 1:
                    letters[place] *= 2
                case _:
                    letters[place : place + 2] = reversed(letters[place : place + 2])
        place += 1
    return "".join(letters).strip() or text


@lru_cache(maxsize=1)
def topic_queries() -> pd.DataFrame:
    """Queries of a topic that the default catalogue does not have: `task, lang, text`."""
    topic = yaml.safe_load(TOPIC.read_text(encoding="utf-8"))
    rows = [
        ("topic", lang, phrase.format(name))
        for lang, phrases in topic["phrases"].items()
        for phrase in phrases
        for name in topic["names"][lang].values()
    ]
    return pd.DataFrame(rows, columns=["task", "lang", "text"])
