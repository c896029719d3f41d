"""What stands before every request: the host asked for, API key, rate, overload, content type, size of the body.

All of it is decided from the headers, before a byte of the body is read; a body without a length is counted as it
comes. Written as plain ASGI, since under overload it is most of what runs.
"""

from __future__ import annotations

import math
import time
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from unimr.service.batching import Overloaded
from unimr.service.errors import ApiError, error_response
from unimr.service.keys import is_loopback, name_of
from unimr.service.schemas import MAX_IMAGE_CHARACTERS

if TYPE_CHECKING:
    from unimr.service.service import Service

MAX_BODY_BYTES = MAX_IMAGE_CHARACTERS + 64 * 1024
OPEN_PATHS = ("/healthz", "/readyz")
GUARDED = ("/v1/", "/metrics")
BATCHED = ("/v1/search", "/v1/understand")
PICTURES = "/v1/pictures/"
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Gate:
    """The middleware in front of `app`; without API keys, only hosts of this machine are answered."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def send_secured(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            if scope["path"] in BATCHED and (refusal := self._overload()):
                status = refusal[0]["status"]
                for message in refusal:
                    await send(message)
                return
            await self._pass(scope, receive, send_secured)
        finally:
            self._service.metrics.observe(_route(scope), status, time.perf_counter() - started)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._check(scope, Headers(scope=scope))
        except ApiError as error:
            response = error_response(error.status_code, str(error.detail), error.headers)
            await response(scope, receive, send)
            return
        await self._app(scope, _bounded(receive), send)

    def _check(self, scope: Scope, headers: Headers) -> None:
        path: str = scope["path"]
        if path in OPEN_PATHS:
            return
        if self._service.keys:
            if path.startswith(GUARDED):
                self._check_key(headers, path)
        elif not is_loopback(_host(headers.get("host", ""))):
            # A page on the web may let its name point here; its visitor's browser then asks in the visitor's stead.
            raise ApiError(403, "This service answers under localhost and 127.0.0.1 alone.")
        if scope["method"] in ("POST", "PUT"):
            _check_body(headers)

    def _check_key(self, headers: Headers, path: str) -> None:
        scheme, _, key = headers.get("authorization", "").partition(" ")
        name = name_of(key.strip(), self._service.keys) if scheme.lower() == "bearer" else None
        if name is None:
            self._service.metrics.refuse("key")
            raise ApiError(401, "Send an API key: Authorization: Bearer KEY.", {"WWW-Authenticate": "Bearer"})
        limiter = self._service.picture_limiter if path.startswith(PICTURES) else self._service.limiter
        wait = limiter.wait(name)
        if wait:
            self._service.metrics.refuse("rate")
            after = {"Retry-After": str(math.ceil(wait))}
            raise ApiError(429, "This API key asks too often. Try again later.", after)

    def _overload(self) -> list[Message]:
        """The whole answer where one more query would not be answered in time, else nothing.

        It comes before all other checks and is made once: it must stay cheap where it is most of what is sent.
        """
        try:
            self._service.check_load()
        except Overloaded as error:
            self._service.metrics.refuse("overload")
            return _refusal(error.retry_after)
        return []


@cache
def _refusal(retry_after: int) -> list[Message]:
    error = Overloaded(retry_after)
    response = error_response(429, str(error), {"Retry-After": str(retry_after), **SECURITY_HEADERS})
    return [
        {"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers},
        {"type": "http.response.body", "body": response.body},
    ]


def _route(scope: Scope) -> str:
    """The route as it was declared, so that ids do not become labels."""
    route = scope.get("route")
    return str(getattr(route, "path", "") or "other")


def _host(header: str) -> str:
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""


def _check_body(headers: Headers) -> None:
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise ApiError(415, "Send JSON: Content-Type: application/json.")
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length[:12]) > MAX_BODY_BYTES:
        raise ApiError(413, f"The body has more than {MAX_BODY_BYTES:,} bytes.")


def _bounded(receive: Receive) -> Receive:
    """A `receive` that ends a body which is longer than its header said, or had none."""
    total = 0

    async def bounded() -> Message:
        nonlocal total
        message = await receive()
        total += len(message.get("body", b""))
        if total > MAX_BODY_BYTES:
            raise ApiError(413, f"The body has more than {MAX_BODY_BYTES:,} bytes.")
        return message

    return bounded
