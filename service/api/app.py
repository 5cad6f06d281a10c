"""The API's application: routes, what stands before them, and what they share."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.concurrency import run_in_threadpool

from service.api import problems
from service.api.context import Context
from service.api.openapi import describe
from service.api.routes import catalog, checks, control, events, health, sessions, studies, trials
from service.api.security import CheckHost, LimitBody, RequireToken
from service.api.stream import Hub
from service.config import Settings, names
from service.dashboard import install as dashboard
from service.dashboard.access import ReadSession
from service.dashboard.sessions import Sessions
from service.store.database import Database

_POOL_SIZE = 10


def create_app(settings: Settings) -> FastAPI:
    """The API on the ledger of `settings`; connects to nothing before it is started.

    Raises:
        ConfigurationError: The ledger's address or the token is missing or malformed.
    """
    database = Database(settings.require_database_url(), application_name="tangent-api", pool_size=_POOL_SIZE)
    app = FastAPI(
        title="Tangent",
        version="1",
        lifespan=_lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
    )
    app.state.context = Context(settings, database, Hub(database))
    app.include_router(_routes())
    app.include_router(health.router)
    problems.install(app)
    events.install(app)
    _protect(app, settings, dashboard.install(app, settings))
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]
    return app


def _routes() -> APIRouter:
    routes = APIRouter(prefix="/api/v1")
    for module in (studies, trials, events, catalog, checks, sessions, control):
        routes.include_router(module.router)
    return routes


def _protect(app: FastAPI, settings: Settings, signed_in: Sessions) -> None:
    """The middleware that is added last stands outermost."""
    app.add_middleware(LimitBody, max_bytes=settings.max_body_bytes)
    app.add_middleware(RequireToken, token=settings.require_api_token())
    app.add_middleware(ReadSession, sessions=signed_in)
    app.add_middleware(CheckHost, allowed=names(settings.allowed_hosts))
    app.add_middleware(problems.CatchUnexpected)
    app.add_middleware(dashboard.ErrorPages)
    app.add_middleware(dashboard.CompressPages)


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    context: Context = app.state.context
    context.hub.start()
    try:
        yield
    finally:
        context.hub.close()
        await run_in_threadpool(context.hub.join)
        context.database.close()


def context_of(app: Any) -> Context:
    """What the application's routes share."""
    context: Context = app.state.context
    return context
