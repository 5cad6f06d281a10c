"""Health: is the process alive, can it work."""

from __future__ import annotations

from functools import cache
from typing import Any

import redis
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from service.api.context import Context, context_of
from service.errors import StoreUnavailableError
from service.store import migrate

router = APIRouter(tags=["health"])


@router.get("/healthz", response_model=dict[str, str], summary="The process lives")
async def healthz() -> Any:
    """Answers without looking at anything else."""
    return {"status": "ok"}


@router.get("/readyz", response_model=dict[str, Any], summary="The process can work")
def readyz(request: Request) -> Any:
    """200 where Postgres answers and has the schema that this code knows, else 503. Redis is for information."""
    context = context_of(request)
    postgres = _postgres(context)
    is_ready = postgres == "ok"
    document = {"status": "ok" if is_ready else "unavailable", "postgres": postgres, "redis": _redis(context)}
    return JSONResponse(document, 200 if is_ready else 503)


@cache
def _head() -> str:
    return migrate.head_revision()


def _postgres(context: Context) -> str:
    try:
        with context.database.transaction() as connection:
            revision = migrate.revision_of(connection)
    except StoreUnavailableError:
        return "does not answer"
    return "ok" if revision == _head() else f"the schema is at revision {revision}, this code needs {_head()}"


def _redis(context: Context) -> str:
    url = context.settings.redis_url
    if url is None:
        return "not configured"
    try:
        with redis.Redis.from_url(url.get_secret_value(), socket_connect_timeout=1, socket_timeout=1) as client:
            client.ping()
    except (redis.RedisError, OSError, ValueError):
        return "does not answer"
    return "ok"
