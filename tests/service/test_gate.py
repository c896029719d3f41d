from __future__ import annotations

import pytest

from unimr.service.gate import MAX_BODY_BYTES
from unimr.service.keys import make_key, read_keys
from unimr.service.service import Service

from ..index.small_index import word_encoder
from .conftest import client_of, serve_params

ASKED = {"text": "cat"}


@pytest.fixture
def guarded(small_root, tmp_path):
    """A service with one key, three requests a minute at once."""
    key, line = make_key("ann")
    known = read_keys(None, {"UNIMR_API_KEYS": line})
    with client_of(Service(serve_params(tmp_path, requests_per_minute=18), small_root, known, word_encoder)) as client:
        yield client, {"Authorization": f"Bearer {key}"}


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer nothing"}, {"Authorization": "Basic x"}])
@pytest.mark.parametrize("path", ["/v1/catalogue", "/v1/items/cat", "/metrics", "/v1/nothing"])
def test_without_the_key_nothing_is_told(guarded, header, path):
    answer = guarded[0].get(path, headers=header)
    assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"


def test_health_and_the_page_need_no_key(guarded):
    assert [guarded[0].get(path).status_code for path in ("/healthz", "/readyz", "/")] == [200, 200, 200]


def test_the_key_opens_until_its_rate_is_used_up(guarded):
    client, header = guarded
    answers = [client.post("/v1/search", json=ASKED, headers=header) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert int(answers[3].headers["retry-after"]) >= 1
    assert client.get("/v1/catalogue").status_code == 401


def test_the_pictures_of_the_results_do_not_use_the_rate_up(guarded):
    client, header = guarded
    pictures = [client.get("/v1/pictures/cat/google", headers=header).status_code for _ in range(72)]
    assert pictures == [200] * 72  # 24 a search, three searches
    assert client.post("/v1/search", json=ASKED, headers=header).status_code == 200
    answers = (client.get("/v1/pictures/cat/google", headers=header).status_code for _ in range(2000))
    assert 429 in answers and client.get("/v1/pictures/cat/google").status_code == 401


@pytest.mark.parametrize("host", ["example.org", "localhost.example.org", "127.0.0.1.example.org", "[", ""])
def test_without_keys_a_foreign_name_is_refused(client, host):
    assert client.get("/v1/catalogue", headers={"Host": host}).status_code == 403


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8000", "[::1]:8000"])
def test_without_keys_this_machine_is_answered(client, host):
    assert client.get("/v1/catalogue", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_only_json_is_read(client, kind):
    assert client.post("/v1/search", content=b"{}", headers={"Content-Type": kind}).status_code == 415


def test_a_body_that_is_too_long_is_refused_by_its_header(client):
    headers = {"Content-Type": "application/json", "Content-Length": str(MAX_BODY_BYTES + 1)}
    assert client.post("/v1/search", content=b"{}", headers=headers).status_code == 413


def test_a_body_without_a_length_is_refused_as_it_comes(client):
    taken = 0

    def body():
        nonlocal taken
        for _ in range(40):
            taken += 2**20
            yield b" " * 2**20

    answer = client.post("/v1/search", content=body(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 413 and answer.json()["error"]["code"] == "too_large"


def test_overload_is_told_before_the_body_is_read(small_root, tmp_path):
    service = Service(serve_params(tmp_path, max_waiting=1), small_root, {}, word_encoder)
    with client_of(service) as client:
        service._batcher._queue.put_nowait = None  # type: ignore[method-assign]
        service._batcher._max_waiting = 0
        answer = client.post("/v1/search", content=b"{" * 1000, headers={"Content-Type": "application/json"})
        assert answer.status_code == 429 and int(answer.headers["retry-after"]) >= 1
        assert answer.json()["error"]["code"] == "too_many_requests" and "x-content-type-options" in answer.headers
        assert 'unimr_refused_total{reason="overload"} 1.0' in client.get("/metrics").text


def test_every_answer_forbids_what_is_from_elsewhere(client):
    for path in ("/", "/v1/catalogue", "/nothing"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"] and headers["x-content-type-options"] == "nosniff"


def test_ids_do_not_become_labels(client):
    client.get("/v1/items/cat")
    client.get("/v1/items/dog")
    client.get("/anything/else")
    said = client.get("/metrics").text
    assert 'route="/v1/items/{item_id}",status="200"} 2.0' in said and "anything" not in said
