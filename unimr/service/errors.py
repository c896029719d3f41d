"""Errors that a client gets: `{"error": {"code", "message"}}`, never a traceback."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

log = logging.getLogger(__name__)

CODES = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "too_large",
    415: "unsupported_media_type",
    422: "invalid",
    429: "too_many_requests",
    500: "internal",
    503: "unavailable",
}
SHOWN_PROBLEMS = 5


class ApiError(HTTPException):
    """An error with the status, the message and the headers that the client gets."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, message, headers)


def error_response(status: int, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The body every error has."""
    content = {"error": {"code": CODES.get(status, "error"), "message": message}}
    return JSONResponse(content, status, headers)


def add_handlers(app: FastAPI) -> None:
    """Let every error of an app have that body."""
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(Exception, _unexpected)


async def _http(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    return error_response(error.status_code, str(error.detail), error.headers)


async def _validation(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    problems = error.errors()
    if any(problem["type"] == "json_invalid" for problem in problems):
        return error_response(400, "The body is not valid JSON.")
    lines = [_said(problem["loc"], problem["msg"]) for problem in problems[:SHOWN_PROBLEMS]]
    status = 413 if any(problem["type"] == "too_large" for problem in problems) else 422
    return error_response(status, "; ".join(lines))


def _said(place: tuple[int | str, ...], message: str) -> str:
    where = ".".join(str(part)[:60] for part in place if part != "body")
    return f"{where}: {message.removeprefix('Value error, ')}" if where else message


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return error_response(500, "The service failed on this request; it has been noted.")
