"""Errors as RFC 9457 problem+json, and the only file that knows status codes of errors."""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import (
    ConflictError,
    InFlightError,
    InvalidInputError,
    KeyReusedError,
    NotFoundError,
    QueueUnavailableError,
    RevisionError,
    StoreUnavailableError,
    TangentError,
)

log = logging.getLogger("tangent.api")

MEDIA_TYPE = "application/problem+json"
MAX_MESSAGE = 500
MAX_ERRORS = 100
_RETRY_AFTER = {"Retry-After": "2"}


class MalformedBodyError(TangentError):
    """The body cannot be read at all: not UTF-8, not JSON or YAML, too deep."""


class UnsupportedMediaTypeError(TangentError):
    """The body is of a type that this route does not read."""


class BodyTooLargeError(TangentError):
    """The body is over the limit."""


class BadHostError(TangentError):
    """The Host header names no host that this server answers to."""


class UnauthorizedError(TangentError):
    """No token, or not the right one."""


@dataclass(frozen=True)
class Kind:
    """How one kind of error is answered.

    Attributes:
        slug: End of the problem's type.
        detail: Sent instead of the error's own text, which only the log gets: it may name addresses and users.
    """

    status: HTTPStatus
    slug: str
    title: str
    headers: Mapping[str, str] | None = None
    detail: str | None = None


_KINDS: Mapping[type[TangentError], Kind] = {
    BadHostError: Kind(HTTPStatus.BAD_REQUEST, "bad-host", "Host not allowed"),
    MalformedBodyError: Kind(HTTPStatus.BAD_REQUEST, "malformed-body", "The body cannot be read"),
    UnauthorizedError: Kind(
        HTTPStatus.UNAUTHORIZED, "unauthorized", "A valid token is needed", {"WWW-Authenticate": "Bearer"}
    ),
    NotFoundError: Kind(HTTPStatus.NOT_FOUND, "not-found", "Not found"),
    ConflictError: Kind(HTTPStatus.CONFLICT, "conflict", "Not possible in this state"),
    BodyTooLargeError: Kind(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body-too-large", "The body is too large"),
    UnsupportedMediaTypeError: Kind(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "Unsupported content type"
    ),
    RevisionError: Kind(HTTPStatus.PRECONDITION_FAILED, "precondition-failed", "It has changed meanwhile"),
    InFlightError: Kind(HTTPStatus.CONFLICT, "in-flight", "The same request is being answered", {"Retry-After": "1"}),
    KeyReusedError: Kind(
        HTTPStatus.UNPROCESSABLE_ENTITY, "idempotency-key-reused", "The key came with another request"
    ),
    InvalidInputError: Kind(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid-input", "Invalid input"),
    StoreUnavailableError: Kind(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "store-unavailable",
        "Postgres does not answer",
        _RETRY_AFTER,
        "Postgres does not answer; look whether a change was made, and try again in a moment",
    ),
    QueueUnavailableError: Kind(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "queue-unavailable",
        "Redis does not answer",
        _RETRY_AFTER,
        "Redis does not answer; what is in the ledger is safe; try again in a moment",
    ),
}
_UNEXPECTED = Kind(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "Something went wrong on the server")


def install(app: FastAPI) -> None:
    """Answer every error of the application as a problem, FastAPI's own included."""
    app.add_exception_handler(TangentError, _on_tangent_error)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, _on_validation_error)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, _on_http_exception)  # type: ignore[arg-type]


class CatchUnexpected:
    """Outermost: turns whatever was not foreseen into a 500 with an id, which the log has with the traceback."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the application; log and answer what it raises."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_started = False

        async def watched(message: Message) -> None:
            nonlocal has_started
            has_started = has_started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except ClientDisconnect:
            log.info("%s %s: the client went away", scope["method"], scope["path"])
        except Exception as error:  # noqa: BLE001 - the edge: logged, and answered without its text
            response = _on_unexpected(error, scope["method"], scope["path"])
            if not has_started:
                await response(scope, receive, send)


def problem_response(error: TangentError, path: str) -> Response:
    """The answer to an error that was raised on purpose."""
    kind = next((_KINDS[base] for base in type(error).__mro__ if base in _KINDS), None)
    if kind is None:
        return _on_unexpected(error, "-", path)
    if kind.detail:
        log.warning("%s: %s", path, error)
    problems = error.problems if isinstance(error, InvalidInputError) else []
    return _render(kind, kind.detail or str(error), path, problems)


def field_path(location: Sequence[int | str]) -> str:
    """A pydantic location as the user's file has it: ("arms", 1, "search", "lr") is "arms[1].search.lr"."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path.removeprefix(".")


async def _on_tangent_error(request: Request, error: TangentError) -> Response:
    return problem_response(error, request.url.path)


async def _on_validation_error(request: Request, error: RequestValidationError) -> Response:
    problems = [(field_path(entry["loc"][1:]), _parameter_message(entry)) for entry in error.errors()]
    return _render(_KINDS[InvalidInputError], "the request's parameters are wrong", request.url.path, problems)


def _parameter_message(entry: Mapping[str, Any]) -> str:
    return str(entry["msg"]).removeprefix("Value error, ")


async def _on_http_exception(request: Request, error: HTTPException) -> Response:
    status = HTTPStatus(error.status_code)
    slug = status.phrase.lower().replace(" ", "-")
    detail = f"{request.method} {request.url.path}: {error.detail}"
    return _render(Kind(status, slug, status.phrase, error.headers), detail, request.url.path)


def _on_unexpected(error: Exception, method: str, path: str) -> Response:
    error_id = secrets.token_hex(8)
    log.error("error %s in %s %s", error_id, method, path, exc_info=error)
    detail = f"the server's log has the details under the id {error_id}"
    return _render(_UNEXPECTED, detail, path, error_id=error_id)


def _render(kind: Kind, detail: str, path: str, problems: Sequence[tuple[str, str]] = (), **extra: str) -> Response:
    document: dict[str, Any] = {
        "type": f"urn:tangent:problem:{kind.slug}",
        "title": kind.title,
        "status": int(kind.status),
        "detail": _clean(detail),
        "instance": _clean(path),
        **extra,
    }
    if problems:
        document["errors"] = [{"field": _clean(f), "message": _clean(m)} for f, m in problems[:MAX_ERRORS]]
    return Response(json.dumps(document), kind.status, dict(kind.headers or {}), MEDIA_TYPE)


def _clean(text: str) -> str:
    """Short, and free of surrogates, which no JSON reader has to accept."""
    text = text if len(text) <= MAX_MESSAGE else f"{text[:MAX_MESSAGE]}…"
    return text.encode("utf-8", "replace").decode()
