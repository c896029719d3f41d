from __future__ import annotations

import base64

import pytest

from unimr.data.images import MAX_BYTES
from unimr.service.schemas import CatalogueFound, ItemFound, SearchResponse, Understood

from ..index.small_index import NAMES, picture
from ..search.test_engine import bomb, gif


def search(client, **asked):
    return client.post("/v1/search", json=asked)


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def items(answer) -> list[str]:
    return [hit["item_id"] for hit in answer.json()["hits"]]


def test_an_answer_has_the_declared_shape_and_names_its_versions(client, service):
    answer = search(client, text="cat in openmoji", k=3)
    content = SearchResponse.model_validate_json(answer.text, strict=True)
    assert answer.status_code == 200 and content.hits[0].image_id == "cat/openmoji"
    assert (content.model, content.index) == (service.engine.model_version, service.engine.version)
    assert content.latency_ms > 0


def test_every_item_is_found_by_its_name(client):
    assert [items(search(client, text=name))[0] for name in NAMES] == list(NAMES)


def test_results_are_24_unless_the_request_or_the_words_say_otherwise(client):
    counts = [len(items(search(client, **asked))) for asked in (
        {"text": "cat"}, {"text": "three animals"}, {"text": "three animals", "k": 2},
        {"text": "three animals", "ignore_slots": ["count"]},
    )]  # fmt: skip
    assert counts == [14, 3, 2, 4]  # the small catalogue has 14 items, 4 of them animals


def test_a_picture_a_picture_with_words_and_more_like_this(client):
    rocket, hand = list(NAMES).index("rocket"), list(NAMES).index("hand")
    found = search(client, image=encoded(picture(rocket, "google")), filters={"style": "openmoji"}).json()
    assert found["hits"][0]["image_id"] == "rocket/openmoji"
    assert items(search(client, text="dark", image=encoded(picture(hand, "google"))))[0] == "hand-dark"
    assert not {"hand", "hand-dark"} & set(items(search(client, image_id="hand/google")))


def test_filters_hold_for_every_result(client):
    asked = {"category": ["Food & Drink", "animals & nature"], "year_from": 2013}
    found = items(search(client, text="cat", filters=asked))
    assert set(found) == {"dog", "horse", "fox", "bread", "cheese", "apple"}


def test_a_removed_chip_changes_the_search(client):
    with_chip, without = (
        search(client, text="hand dark", ignore_slots=ignored).json() for ignored in ([], ["skin_tone"])
    )
    assert with_chip["filters"] == ["skin_tone == dark"] and without["filters"] == []
    assert len(without["hits"]) > len(with_chip["hits"])


def test_understanding_alone(client):
    content = Understood.model_validate_json(client.post("/v1/understand", json={"text": "dark hand"}).text)
    assert [(slot.label, slot.value) for slot in content.slots] == [("skin_tone", "dark"), ("subject", "hand")]
    assert content.filters == ["skin_tone == dark"] and content.intent == "find_image"


@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [
        ({}, 422, "query is empty"),
        ({"text": " \n"}, 422, "query is empty"),
        ({"text": "a" * 2001}, 422, "text: "),
        ({"text": 5}, 422, "text: "),
        ({"text": "cat", "k": 0}, 422, "k: "),
        ({"text": "cat", "k": 101}, 422, "k: "),
        ({"text": "cat", "k": True}, 422, "k: "),
        ({"text": "cat", "lang": "xx"}, 422, "no language 'xx'"),
        ({"text": "cat", "filters": {"style": "watercolour"}}, 422, "Known: google, openmoji"),
        ({"text": "cat", "filters": {"colour": "red"}}, 422, "filters.colour"),
        ({"text": "cat", "filters": {"year": "2019 or 1==1"}}, 422, "filters.year"),
        ({"text": "cat", "filters": {"style": []}}, 422, "filters.style"),
        ({"text": "cat", "ignore_slots": ["nothing"]}, 422, "ignore_slots.0"),
        ({"text": "cat", "url": "http://localhost/x.png"}, 422, "url: "),
        ({"image": "!!!"}, 422, "base64"),
        ({"image": encoded(b"not a picture")}, 415, "only PNG"),
        ({"image": encoded(gif())}, 415, "only PNG"),
        ({"image": ""}, 415, "only PNG"),
        ({"image": encoded(bomb(5000, 5000))}, 422, "5000 x 5000"),
        ({"image": encoded(bomb(50_000, 50_000))}, 422, "refused"),
        ({"image": encoded(bomb(10, 10))}, 422, "damaged"),
        ({"image": encoded(b"\x89PNG\r\n\x1a\n" + b"\0" * MAX_BYTES)}, 413, "10 MiB"),
        ({"image_id": "cat/nothing"}, 404, "no picture 'cat/nothing'"),
        ({"image_id": "cat/google", "image": encoded(picture(0, "google"))}, 422, "two pictures"),
    ],
)
def test_bad_requests_get_a_reason(client, asked, status, said):
    answer = search(client, **asked)
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error"} and set(answer.json()["error"]) == {"code", "message"}
    assert said in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"text": "\\ud800"}', b"[" * 100_000, b'{"k": NaN}', b'{"k": 1e999}',
     b'{"k": ' + b"9" * 5000 + b"}", b'{"text": "a\\u0000b", "k": 1}'],
)  # fmt: skip
def test_no_body_is_a_fault_of_the_service(client, body):
    answer = client.post("/v1/search", content=body, headers={"content-type": "application/json"})
    assert answer.status_code < 500, answer.text
    assert answer.status_code == 200 or set(answer.json()) == {"error"}


@pytest.mark.parametrize("text", ["😀😀", "'; drop", '" or year > 0 or "', "\\", "\0", "١٢٣", "\u202eabc", "%", "…"])
def test_strange_queries_are_answered(client, text):
    assert search(client, text=text).status_code == 200


def test_a_picture_with_its_tag_and_then_not_again(client):
    first = client.get("/v1/pictures/cat/openmoji")
    assert (first.status_code, first.headers["content-type"], first.content) == (
        200, "image/png", picture(0, "openmoji"),
    )  # fmt: skip
    again = client.get("/v1/pictures/cat/openmoji", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"") and "max-age" in again.headers["cache-control"]
    assert client.get("/v1/pictures/..%2f..%2fetc/passwd").status_code == 404


def test_an_item(client):
    content = ItemFound.model_validate_json(client.get("/v1/items/hand-dark").text)
    assert (content.names["de"], content.attributes["skin_tone"]) == ("Faust: dunkle Hautfarbe", "dark")
    assert {each.url for each in content.pictures} == {
        "/v1/pictures/hand-dark/google",
        "/v1/pictures/hand-dark/openmoji",
    }
    assert client.get("/v1/items/nothing").status_code == 404


def test_the_catalogue_lists_what_can_be_asked_for(client):
    content = CatalogueFound.model_validate_json(client.get("/v1/catalogue").text)
    assert (content.languages, content.styles, content.items) == (["de", "en", "ja"], ["google", "openmoji"], 14)
    assert "Food & Drink" in content.categories
    assert [each.lang for each in content.examples] == ["de", "en", "ja"]
    for each in content.examples:
        assert search(client, text=each.text, lang=each.lang).json()["hits"][0]["title"] == each.text
    assert len({each.text for each in content.examples}) == 3


def test_health_readiness_and_metrics(client, service):
    search(client, text="cat")
    assert client.get("/healthz").json() == {"status": "alive"}
    assert client.get("/readyz").json()["index"] == service.engine.version
    said = client.get("/metrics").text
    assert 'unimr_requests_total{route="/v1/search",status="200"} 1.0' in said
    assert f'index="{service.engine.version}"' in said
    service.draining = True
    assert client.get("/readyz").status_code == 503


def test_the_openapi_document_has_examples_and_every_error(client):
    document = client.get("/docs").json()
    assert document["components"]["schemas"]["SearchRequest"]["examples"]
    assert {"413", "415", "422", "429"} <= set(document["paths"]["/v1/search"]["post"]["responses"])


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v1/search", 405), ("GET", "/nothing", 404)])
def test_other_paths_and_methods_have_the_same_errors(client, method, path, status):
    answer = client.request(method, path)
    assert answer.status_code == status and set(answer.json()) == {"error"}


def test_a_fault_is_answered_without_its_traceback(client, service, monkeypatch):
    monkeypatch.setattr(service.live.current, "search_many", lambda queries: 1 / 0)
    answer = search(client, text="cat")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal")
    assert "division" not in answer.text
