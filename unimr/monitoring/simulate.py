"""Plays the traffic of a scenario into a running service over HTTP, as clients would."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby

import httpx

from unimr.errors import UnimrError
from unimr.monitoring.scenarios import Asked

CLIENTS = 8
"""Sessions at a time; each waits for its answers."""
RESULTS = 10
MAX_TRIES = 20
SECONDS = 30.0


@dataclass(frozen=True)
class Played:
    """How many queries were answered, in how many sessions, and how long all of it took."""

    queries: int
    sessions: int
    seconds: float


def send(url: str, asked: Sequence[Asked], run: str, key: str = "") -> Played:
    """Ask a service; a session's queries come one after the other, under the session name `<run>-<session>`.

    Args:
        url: of the service, e.g. http://127.0.0.1:8000.
        asked: queries, those of a session together.
        run: tells the sessions of this run from those of others.
        key: an API key, where the service wants one.

    Raises:
        UnimrError: the service does not answer, or refuses a query.
    """
    started = time.perf_counter()
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    parts = [list(queries) for _, queries in groupby(asked, key=lambda each: each.session)]
    with httpx.Client(base_url=url, headers=headers, timeout=SECONDS) as client, ThreadPoolExecutor(CLIENTS) as clients:
        done = sum(clients.map(lambda part: _session(client, part, run), parts))
    return Played(done, len(parts), time.perf_counter() - started)


def _session(client: httpx.Client, queries: Iterable[Asked], run: str) -> int:
    count = 0
    for query in queries:
        _ask(client, query, f"{run}-{query.session}")
        count += 1
    return count


def _ask(client: httpx.Client, query: Asked, session: str) -> None:
    for _ in range(MAX_TRIES):
        try:
            answer = client.post("/v1/search", json={"text": query.text, "k": RESULTS}, headers={"X-Session": session})
        except httpx.HTTPError as error:
            raise UnimrError(f"{client.base_url} does not answer ({error}). Start it: `unimr serve`.") from error
        if answer.status_code != httpx.codes.TOO_MANY_REQUESTS:
            break
        time.sleep(float(answer.headers.get("Retry-After", 1)))
    if answer.status_code != httpx.codes.OK:
        raise UnimrError(f"{client.base_url} refused {query.text!r}: {answer.status_code} {answer.text[:300]}")
