"""Signing in and out, and the dashboard's files."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import parse_qs

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from service import signing_in
from service.dashboard import assets
from service.dashboard.context import Ledger, sessions_of
from service.dashboard.rendering import page
from service.dashboard.sessions import next_path

router = APIRouter(include_in_schema=False)


@router.get("/static/{path:path}")
def static_file(request: Request, path: str) -> Response:
    """A file of the dashboard."""
    return assets.respond(path, request.headers.get("accept-encoding", ""))


@router.get("/favicon.ico")
def favicon() -> Response:
    """Where browsers look by themselves."""
    return RedirectResponse(assets.asset_url("favicon.svg"), 303)


@router.get("/")
def start() -> Response:
    """The first page."""
    return RedirectResponse("/studies", 303)


@router.get("/login")
def show_login(
    request: Request,
    ledger: Ledger,
    next: Annotated[str | None, Query(max_length=2000)] = None,  # noqa: A002
    code: Annotated[str | None, Query(max_length=500)] = None,
) -> Response:
    """The form for the token; with the code of a one-time link the way in."""
    target = next_path(next)
    if code is None:
        return page(request, "login.html", {"next": target, "problem": ""})
    sessions = sessions_of(request)
    link_id = sessions.link_id(code)
    with ledger.transaction() as connection:
        is_fresh = link_id is not None and signing_in.spend_link(connection, link_id)
    if not is_fresh:
        problem = (
            "This link has been used, or is older than ten minutes. Sign in with the token, or ask for a new link."
        )
        return page(request, "login.html", {"next": target, "problem": problem}, status=403)
    response = RedirectResponse(target, 303)
    sessions.open(response, is_https=request.url.scheme == "https")
    return response


@router.post("/login")
async def sign_in(request: Request) -> Response:
    """Take the token from the form."""
    body = await request.body()
    form = {key: values[-1] for key, values in parse_qs(body.decode("utf-8", "replace")).items()}
    sessions = sessions_of(request)
    target = next_path(form.get("next"))
    if not sessions.is_token(form.get("token", "")):
        problem = "That is not this server's token. A local instance keeps it in .tangent/token."
        return await run_in_threadpool(page, request, "login.html", {"next": target, "problem": problem}, status=403)
    response = RedirectResponse(target, 303)
    sessions.open(response, is_https=request.url.scheme == "https")
    return response


@router.post("/logout")
def sign_out(request: Request) -> Response:
    """Forget the session in this browser."""
    response = Response(status_code=204)
    sessions_of(request).close(response)
    return response
