"""The HTTP side: routes, and how a query and an answer look on the wire."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, cast

import orjson
from fastapi import APIRouter, Depends, FastAPI, Header, Request, Response
from fastapi.responses import FileResponse, RedirectResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from unimr import __version__
from unimr.data.live import LiveChange
from unimr.errors import UnimrError
from unimr.index.schema import Filter
from unimr.search.answer import SearchAnswer
from unimr.search.engine import SearchEngine
from unimr.search.filters import known_value
from unimr.search.query import Query
from unimr.service.changes import change_of
from unimr.service.errors import ApiError, add_handlers
from unimr.service.examples import example_queries
from unimr.service.gate import Gate
from unimr.service.schemas import (
    ERRORS,
    USUAL_RESULTS,
    CatalogueFound,
    Changed,
    Filters,
    ItemChange,
    ItemFound,
    SearchRequest,
    SearchResponse,
    UnderstandRequest,
    Understood,
)
from unimr.service.service import Service

PAGE = Path(__file__).parent / "page"
PICTURE_AGE_SECONDS = 3600
MEDIA_TYPES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"RIFF": "image/webp"}

routes = APIRouter()


def create_app(service: Service) -> FastAPI:
    """The application around a service."""

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        await service.stop()

    app = FastAPI(
        title="unimr",
        version=__version__,
        description="Search pictures and texts in many languages. Every answer names the model and the index it is of.",
        docs_url=None,
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False},
        lifespan=life,
    )
    app.state.service = service
    app.include_router(routes)
    _add_page(app)
    add_handlers(app)
    app.add_middleware(Gate, service=service)
    return app


def _add_page(app: FastAPI) -> None:
    """A route a file of the page; nothing else of the disk can be asked for."""
    for file in sorted(path for path in PAGE.iterdir() if path.is_file()):
        response = partial(FileResponse, file, headers={"Cache-Control": "no-cache"})
        address = "/" if file.name == "index.html" else f"/{file.name}"
        app.add_api_route(address, _sender(response), include_in_schema=False, response_class=FileResponse)


def _sender(response: Callable[[], Response]) -> Callable[[], Awaitable[Response]]:
    async def send() -> Response:
        return response()

    return send


def _service(request: Request) -> Service:
    return cast(Service, request.app.state.service)


ServiceHere = Annotated[Service, Depends(_service)]
Session = Annotated[
    str | None, Header(alias="X-Session", pattern=r"^[A-Za-z0-9_-]{1,64}$", description="Ties queries together.")
]


@routes.post("/v1/search", response_model=SearchResponse, responses=ERRORS, summary="Search by words and pictures")
async def search(asked: SearchRequest, service: ServiceHere, session: Session = None) -> Response:
    """Results for words in any language, for a picture, or for a picture changed by words."""
    started = time.perf_counter()
    query = _query(asked, service.engine)
    answer = await service.ask(query)
    response = _answered(answer, started, answer.to_json())
    service.log.add(answer, _kind(query), (time.perf_counter() - started) * 1000, session)
    return response


@routes.post("/v1/understand", response_model=Understood, responses=ERRORS, summary="Understand a query")
async def understand(asked: UnderstandRequest, service: ServiceHere) -> Response:
    """Intent, slots, language and filters of a query, without results."""
    started = time.perf_counter()
    answer = await service.ask(Query(asked.text, lang=asked.lang, understand_only=True))
    shown = answer.to_json()
    return _answered(answer, started, {name: shown[name] for name in Understood.model_fields if name in shown})


@routes.get("/v1/pictures/{image_id:path}", response_class=Response, responses=ERRORS, summary="Bytes of a picture")
async def picture(
    image_id: str, service: ServiceHere, if_none_match: Annotated[str | None, Header()] = None
) -> Response:
    """A picture of the catalogue."""
    try:
        data = service.engine.catalogue.picture(image_id)
    except UnimrError as error:
        raise ApiError(404, str(error)) from error
    tag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": f"private, max-age={PICTURE_AGE_SECONDS}"}
    if if_none_match == tag:
        return Response(status_code=304, headers=headers)
    kind = next((name for start, name in MEDIA_TYPES.items() if data.startswith(start)), "application/octet-stream")
    return Response(data, media_type=kind, headers=headers)


@routes.get("/v1/items/{item_id}", response_model=ItemFound, responses=ERRORS, summary="An item")
async def item(item_id: str, service: ServiceHere) -> Response:
    """Texts by language, pictures and attributes of an item."""
    engine = service.engine
    if item_id not in engine.catalogue.items:
        raise ApiError(404, f"There is no item {item_id[:100]!r} in the index.")
    pictures = [
        {"image_id": image, "style": engine.catalogue.style(image), "url": f"/v1/pictures/{image}"}
        for image in engine.catalogue.images_of(item_id)
    ]
    return _json({"item_id": item_id, "pictures": pictures, **engine.catalogue.items[item_id], **_versions(engine)})


@routes.put("/v1/items/{item_id}", response_model=Changed, responses=ERRORS, summary="Add or change an item")
async def put_item(item_id: str, asked: ItemChange, service: ServiceHere) -> Response:
    """The item as it shall be from now on; when this is answered it is on the disk and found by searches."""
    try:
        change = await asyncio.to_thread(change_of, item_id, asked, service.engine)
    except ValueError as error:
        raise ApiError(422, str(error)) from error
    return await _changed(service, change)


@routes.delete("/v1/items/{item_id}", response_model=Changed, responses=ERRORS, summary="Remove an item")
async def delete_item(item_id: str, service: ServiceHere) -> Response:
    """The item is found no more, and is not part of the next build."""
    return await _changed(service, LiveChange(item_id))


async def _changed(service: Service, change: LiveChange) -> Response:
    await service.change(change)
    return _json({"item_id": change.item_id, **_versions(service.engine)})


@routes.get("/v1/catalogue", response_model=CatalogueFound, responses=ERRORS, summary="What can be asked for")
async def catalogue(service: ServiceHere) -> Response:
    """Languages, styles, categories, every value of every filter, and some queries to begin with."""
    engine = service.engine
    lists: dict[str, object] = {"languages": engine.catalogue.languages, "styles": engine.values["style"]}
    lists["categories"] = engine.values["category"]
    lists |= {"values": engine.values, "examples": example_queries(engine.catalogue)}
    return _json({**lists, "items": len(engine.catalogue.items), **_versions(engine)})


@routes.get("/healthz", summary="Whether the process lives")
async def healthz() -> dict[str, str]:
    """Answers as long as the process does."""
    return {"status": "alive"}


@routes.get("/readyz", responses={503: ERRORS[503]}, summary="Whether it answers queries")
async def readyz(service: ServiceHere) -> dict[str, str]:
    """The versions that answer; 503 once the service is ending."""
    if service.draining:
        raise ApiError(503, "The service is ending.")
    return {"status": "ready", **_versions(service.engine)}


@routes.get("/metrics", response_class=Response, summary="Metrics for Prometheus")
async def metrics(service: ServiceHere) -> Response:
    """Counters and latencies in the text format of Prometheus."""
    return Response(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_LATEST)


@routes.get("/docs", include_in_schema=False)
async def docs() -> Response:
    """The OpenAPI document itself: a page to show it would load its code from elsewhere."""
    return RedirectResponse("/openapi.json")


def _kind(query: Query) -> str:
    return "+".join(["image"] * query.has_picture + ["text"] * (query.words is not None))


def _query(asked: SearchRequest, engine: SearchEngine) -> Query:
    """The query that a request is, with filters on values that the index has.

    Raises:
        ApiError: a filter has no such value, the picture is not base64, or there is no such picture.
    """
    if asked.image_id is not None and not engine.catalogue.has_picture(asked.image_id):
        raise ApiError(404, f"There is no picture {asked.image_id[:100]!r} in the index.")
    try:
        return Query(
            text=asked.text,
            image=asked.picture(),
            image_id=asked.image_id,
            filters=_filters(asked.filters, engine),
            k=asked.k,
            lang=asked.lang,
            ignored=frozenset(asked.ignore_slots),
            usual_k=USUAL_RESULTS,
        )
    except (ValueError, UnimrError) as error:
        raise ApiError(422, str(error)) from error


def _filters(given: Filters, engine: SearchEngine) -> tuple[Filter, ...]:
    return tuple(
        Filter(each.field, each.op, known_value(each.field, each.value, engine.values))
        if isinstance(each.value, str)
        else each
        for each in given.typed()
    )


def _answered(answer: SearchAnswer, started: float, content: dict[str, Any]) -> Response:
    versions = {"model": answer.model_version, "index": answer.index_version}
    return _json(content | {"latency_ms": round((time.perf_counter() - started) * 1000, 2), **versions})


def _versions(engine: SearchEngine) -> dict[str, str]:
    return {"model": engine.model_version, "index": engine.version}


def _json(content: dict[str, Any]) -> Response:
    return Response(orjson.dumps(content), media_type="application/json")
