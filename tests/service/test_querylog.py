from __future__ import annotations

import json
import sqlite3
import time

import pytest

from unimr.errors import UnimrError
from unimr.search.answer import Hit, SearchAnswer, SlotShown
from unimr.service import querylog
from unimr.service.logstore import LogStore, read_log
from unimr.service.querylog import DAY_SECONDS, QueryLog, keyed_hash, place_of

from .conftest import serve_params
from .postgres import Postgres


def answer(text: str | None = "secret cat") -> SearchAnswer:
    hit = Hit("cat", 0.05, "image", "Katze", "cat", None, "cat/google", "google", b"")
    slots = [SlotShown("subject", "secret cat", "secret cat"), SlotShown("style", "noto", "google")]
    return SearchAnswer(
        text, "en", "find_image", 0.9, slots, ["style == google"], [], [hit], 0.8, 0.1, "m1", "i1", 12.0
    )  # fmt: skip


class Counts:
    def __init__(self) -> None:
        self.written = self.dropped = 0

    def write(self, number: int) -> None:
        self.written += number

    def drop(self, number: int) -> None:
        self.dropped += number


@pytest.fixture(scope="module")
def postgres(tmp_path_factory):
    with Postgres.started(tmp_path_factory) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
def database(request):
    """Parameters of the log in a new database of either kind."""
    return {"url": request.getfixturevalue("postgres").new_database()} if request.param == "postgres" else {}


def opened(folder, counts, **changes) -> QueryLog:
    params = serve_params(folder).query_log.model_copy(update=changes)
    return QueryLog(params, folder, counts.write, counts.drop)


def entries(folder, **changes):
    return list(read_log(place_of(serve_params(folder).query_log.model_copy(update=changes), folder)))


def test_an_entry_has_what_drift_is_measured_on(tmp_path, database):
    counts = Counts()
    log = opened(tmp_path, counts, **database)
    log.add(answer(), "text", 15.25, "abc")
    log.close()
    (entry,) = entries(tmp_path, **database)
    assert abs(entry.pop("asked_at") - time.time()) < 60
    assert entry == {
        "id": 1, "kind": "text", "text": "secret cat", "text_hash": None, "lang": "en", "intent": "find_image",
        "confidence": 0.9, "filters": ["style == google"], "results": ["cat"], "scores": [0.05], "similarity": 0.8,
        "margin": 0.1, "latency_ms": 15.25, "model": "m1", "index_version": "i1", "session": "abc",
        "slots": [{"label": "subject", "text": "secret cat", "value": "secret cat"},
                  {"label": "style", "text": "noto", "value": "google"}],
    }  # fmt: skip
    assert (counts.written, counts.dropped) == (1, 0)


def test_where_text_may_not_be_kept_there_is_a_keyed_hash_and_not_a_word_of_it(tmp_path):
    for _ in range(2):  # the key outlives the process
        log = opened(tmp_path, Counts(), store_text=False)
        log.add(answer(), "text", 1.0, None)
        log.add(answer("Secret  CAT"), "text", 1.0, None)
        log.close()
    found = entries(tmp_path)
    key = (tmp_path / "logs/queries.key").read_bytes()
    assert {entry["text_hash"] for entry in found} == {keyed_hash("secret cat", key)} and len(found) == 4
    assert b"secret" not in b"".join(path.read_bytes() for path in (tmp_path / "logs").iterdir())
    assert (tmp_path / "logs/queries.key").stat().st_mode & 0o077 == 0


def test_what_is_too_old_is_deleted(tmp_path, database, monkeypatch):
    log = opened(tmp_path, Counts(), retention_days=30, **database)
    now = time.time()
    monkeypatch.setattr(querylog.time, "time", lambda: now - 31 * DAY_SECONDS)
    log.add(answer("old"), "text", 1.0, None)
    time.sleep(0.3)
    assert [entry["text"] for entry in entries(tmp_path, **database)] == ["old"]
    monkeypatch.undo()
    log.add(answer("new"), "text", 1.0, None)
    log.close()
    assert [entry["text"] for entry in entries(tmp_path, **database)] == ["new"]


def test_entries_since_a_moment_are_read_in_their_order_in_every_script(tmp_path, database):
    texts = ["قطة", "面白い顔", 'it\'s "x"; DROP TABLE queries', "nul \0 here", "😀", None]
    log = opened(tmp_path, Counts(), **database)
    for text in texts:
        log.add(answer(text), "text", 1.0, None)
    log.close()
    found = entries(tmp_path, **database)
    assert [entry["text"] for entry in found] == [text and text.replace("\0", "\ufffd") for text in texts]
    place = place_of(serve_params(tmp_path).query_log.model_copy(update=database), tmp_path)
    assert [entry["id"] for entry in read_log(place, found[3]["asked_at"])][-3:] == [4, 5, 6]
    assert list(read_log(place, time.time())) == []


def test_a_database_that_comes_back_costs_no_entry(tmp_path, postgres):
    counts, database = Counts(), {"url": postgres.new_database()}
    log = opened(tmp_path, counts, **database)
    log.add(answer("before"), "text", 1.0, None)
    time.sleep(0.3)
    postgres.stop()
    log.add(answer("while away"), "text", 1.0, None)
    time.sleep(0.3)
    postgres.start()
    log.add(answer("after"), "text", 1.0, None)
    deadline = time.monotonic() + 10
    while counts.written < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    log.close()
    assert [entry["text"] for entry in entries(tmp_path, **database)] == ["before", "while away", "after"]
    assert (counts.written, counts.dropped) == (3, 0)


def test_a_database_that_stays_away_costs_entries_and_nothing_else(tmp_path, postgres, monkeypatch):
    monkeypatch.setattr(querylog, "PAUSES", (0.0, 0.1))
    counts = Counts()
    log = opened(tmp_path, counts, url=postgres.new_database())
    time.sleep(0.1)
    postgres.stop()
    try:
        log.add(answer(), "text", 1.0, None)
        time.sleep(0.5)
        log.close()
    finally:
        postgres.start()
    assert (counts.written, counts.dropped) == (0, 1)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://ann:secret@127.0.0.1:1/x", "cannot be opened"),
        ("mysql://ann:secret@localhost/x", "begins with 'mysql'"),
        ("logs/other.db", "no URL"),
    ],
)
def test_a_database_that_is_none_is_named_at_the_start_without_its_password(tmp_path, url, said):
    with pytest.raises(UnimrError, match=said) as error:
        opened(tmp_path, Counts(), url=url)
    assert "secret" not in str(error.value)


def test_a_full_queue_drops_and_counts_and_never_waits(tmp_path, monkeypatch):
    counts = Counts()
    log = opened(tmp_path, counts, max_waiting=10)
    with sqlite3.connect(tmp_path / "logs/queries.db", isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")  # the writer waits for this
        log.add(answer(), "text", 1.0, None)
        time.sleep(0.2)
        started = time.perf_counter()
        for _ in range(1000):
            log.add(answer(), "text", 1.0, None)
        assert time.perf_counter() - started < 1
        other.execute("ROLLBACK")
    other.close()
    log.close()
    assert counts.dropped >= 980 and counts.written + counts.dropped == 1001
    assert len(entries(tmp_path)) == counts.written


def test_a_disk_that_fails_costs_entries_and_nothing_else(tmp_path, monkeypatch):
    counts = Counts()
    log = opened(tmp_path, counts)
    time.sleep(0.1)

    def fail(store, rows, oldest):
        raise UnimrError("disk full")

    monkeypatch.setattr(LogStore, "write", fail)
    log.add(answer(), "text", 1.0, None)
    log.close()
    assert (counts.written, counts.dropped) == (0, 1)


def test_a_log_that_is_none_is_named_at_the_start(tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/queries.db").write_bytes(b"this is no database " * 100)
    with pytest.raises(UnimrError, match="cannot be opened"):
        opened(tmp_path, Counts())
    with pytest.raises(UnimrError, match="cannot be read"):
        entries(tmp_path)


def test_searches_are_logged_with_their_session(client, tmp_path):
    client.post("/v1/search", json={"text": "cat", "image_id": "dog/google"}, headers={"X-Session": "s-1"})
    client.post("/v1/search", json={"text": ""})
    deadline = time.time() + 5
    while not (found := entries(tmp_path)) and time.time() < deadline:
        time.sleep(0.02)
    assert [(entry["kind"], entry["session"], entry["text"]) for entry in found] == [("image+text", "s-1", "cat")]
    assert json.dumps(found[0]["results"])
    assert "unimr_log_dropped_total 0.0" in client.get("/metrics").text
