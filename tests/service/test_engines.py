"""A new version takes the place of the old one while queries come."""

from __future__ import annotations

import threading
import time

from unimr.files import write_json
from unimr.index.publish import current_version, promote, versions_folder
from unimr.search.engine import SearchEngine
from unimr.service.service import Service

from ..index.small_index import NAMES, WordEncoder, word_encoder
from .conftest import client_of, publish_again, serve_params


def wait_until(condition, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def test_swaps_under_fire_fail_no_request_and_every_answer_is_that_of_its_version(own_root, tmp_path):
    first = current_version(own_root)
    second = publish_again(own_root, "kitten")
    expected = {}
    for version in (first, second):
        with SearchEngine(versions_folder(own_root) / version, tmp_path / "open", word_encoder) as engine:
            expected[version] = [[hit.title for hit in engine.search(name, k=5).hits] for name in NAMES]
    assert expected[first] != expected[second]
    service = Service(serve_params(tmp_path), own_root, {}, word_encoder)
    faults: list[object] = []
    seen: dict[str, int] = {first: 0, second: 0}
    over = threading.Event()

    def fire() -> None:
        while not over.is_set():
            for number, name in enumerate(NAMES):
                answer = client.post("/v1/search", json={"text": name, "k": 5})
                if answer.status_code != 200:
                    faults.append(answer.text)
                    continue
                content = answer.json()
                seen[content["index"]] += 1
                if [hit["title"] for hit in content["hits"]] != expected[content["index"]][number]:
                    faults.append(content)

    with client_of(service) as client:
        threads = [threading.Thread(target=fire, daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            for wanted in (first, second) * 3:
                promote(own_root, wanted)
                wait_until(lambda wanted=wanted: service.engine.version == wanted)
                time.sleep(0.1)
        finally:
            over.set()
            for thread in threads:
                thread.join(10)
        swaps = [
            line for line in client.get("/metrics").text.splitlines() if line.startswith("unimr_index_swaps_total")
        ]
    assert faults == [] and min(seen.values()) > 0
    assert swaps == ["unimr_index_swaps_total 6.0"]
    assert not list((own_root / "published/open").glob("*")), "copies of closed engines are left"


def test_a_version_that_cannot_be_opened_leaves_the_old_one(own_root, tmp_path, caplog):
    first = current_version(own_root)
    service = Service(serve_params(tmp_path), own_root, {}, word_encoder)
    with client_of(service) as client:
        second = publish_again(own_root, "kitten")
        wait_until(lambda: service.engine.version == second)
        promote(own_root, first)
        wait_until(lambda: service.engine.version == first)
        (versions_folder(own_root) / second / "items.json").write_text("{}")
        write_json(own_root / "published/current.json", {"version": second, "history": [first, second]})
        wait_until(lambda: "cannot be opened" in caplog.text)
        time.sleep(0.3)  # a few more looks
        assert client.post("/v1/search", json={"text": "cat"}).json()["index"] == first
    assert sum("cannot be opened" in record.message for record in caplog.records) == 1


def test_the_same_model_is_not_loaded_again(own_root, tmp_path):
    loads = []

    def load(folder):
        loads.append(folder)
        return WordEncoder()

    service = Service(serve_params(tmp_path), own_root, {}, load)
    with client_of(service):
        wanted = publish_again(own_root, "kitten")
        wait_until(lambda: service.engine.version == wanted)
    assert len(loads) == 1


def test_a_fault_while_looking_does_not_end_the_looking(own_root, tmp_path, monkeypatch):
    service = Service(serve_params(tmp_path), own_root, {}, word_encoder)
    faults = [OSError("half there"), KeyError("uri")]
    opened = service.live.opened
    monkeypatch.setattr(service.live, "opened", lambda: opened() if not faults else _throw(faults.pop()))
    with client_of(service):
        wanted = publish_again(own_root, "kitten")
        wait_until(lambda: service.engine.version == wanted)
    assert faults == []


def _throw(error: Exception) -> None:
    raise error
