from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from unimr.errors import UnimrError
from unimr.monitoring.scenarios import Asked
from unimr.monitoring.simulate import send

ASKED = [Asked(f"s{number // 3}", "en", f"query {number}") for number in range(12)]


class FakeService(BaseHTTPRequestHandler):
    """Answers like the service, and notes what it was asked in `server.notes`."""

    def do_POST(self) -> None:
        notes = self.server.notes
        text = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"]
        notes.keys.add(self.headers.get("Authorization", ""))
        refused = notes.overloaded and text not in notes.refused
        if refused:
            notes.refused.add(text)
        else:
            notes.seen[self.headers["X-Session"]].append(text)
        self.send_response(429 if refused else notes.status)
        self.send_header("Retry-After", "0")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


@dataclass
class Notes:
    """What the service was asked, and how it shall answer; with `overloaded` it refuses every text once."""

    seen: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    refused: set[str] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)
    overloaded: bool = False
    status: int = 200


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def url(notes) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), FakeService)
    server.notes = notes
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_every_query_is_asked_once_in_its_session_and_in_order(url, notes):
    played = send(url, ASKED, "run1", "secret")
    assert (played.queries, played.sessions) == (12, 4)
    assert notes.seen == {
        f"run1-s{number}": [f"query {3 * number + place}" for place in range(3)] for number in range(4)
    }
    assert notes.keys == {"Bearer secret"}


def test_an_overloaded_service_is_asked_again(url, notes):
    notes.overloaded = True
    assert send(url, ASKED, "run1").queries == 12
    assert sum(map(len, notes.seen.values())) == 12


def test_a_refusal_is_an_error_that_says_what_was_refused(url, notes):
    notes.status = 401
    with pytest.raises(UnimrError, match=r"refused 'query .*': 401"):
        send(url, ASKED, "run1")


def test_a_service_that_is_not_there_is_an_error_that_says_so():
    with pytest.raises(UnimrError, match="Start it: `unimr serve`"):
        send("http://127.0.0.1:9", ASKED, "run1")
