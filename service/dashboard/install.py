"""Mounts the dashboard on the API's application."""

from __future__ import annotations

import json

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.config import Settings
from service.dashboard.access import is_page
from service.dashboard.fresh import FreshReports
from service.dashboard.routes import (
    charts,
    checks,
    compare,
    errors,
    new_study,
    queue,
    session,
    studies,
    study,
    trial,
    trials,
)
from service.dashboard.sessions import Sessions

_LEVEL = 6
_WORTH_IT_BYTES = 1000  # less fits into one packet with its headers
_PROBLEM = b"application/problem+json"


def install(app: FastAPI, settings: Settings) -> Sessions:
    """Add the pages; the middleware is the application's to put in its place."""
    sessions = Sessions(settings.require_api_token())
    app.state.sessions = sessions
    app.state.fresh_reports = FreshReports(settings.redis_url)
    for module in (session, studies, new_study, study, trial, trials, charts, compare, queue, checks):
        app.include_router(module.router)
    return sessions


class CompressPages:
    """Compresses pages, their parts and the data of charts; files of the dashboard are compressed already.

    Event streams belong to the API, which this leaves alone.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._compressed = GZipMiddleware(app, minimum_size=_WORTH_IT_BYTES, compresslevel=_LEVEL)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        is_ours = scope["type"] == "http" and is_page(scope["path"])
        await (self._compressed if is_ours else self._app)(scope, receive, send)


class ErrorPages:
    """Turns the problems of pages into pages; scripts, which do not ask for HTML, get the problem as it is."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and hold a problem back until it is whole."""
        if scope["type"] != "http" or not is_page(scope["path"]) or not _wants_html(scope):
            await self._app(scope, receive, send)
            return
        start: Message | None = None
        body = b""

        async def held(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start" and _is_problem(message):
                start = message
            elif start is None:
                await send(message)
            else:
                body += message.get("body", b"")
                if not message.get("more_body", False):
                    problem = json.loads(body)
                    answer = errors.error_page(Request(scope), start["status"], problem)
                    await answer(scope, receive, send)

        await self._app(scope, receive, held)


def _wants_html(scope: Scope) -> bool:
    return "text/html" in Headers(scope=scope).get("accept", "")


def _is_problem(message: Message) -> bool:
    return any(key.lower() == b"content-type" and value.startswith(_PROBLEM) for key, value in message["headers"])
