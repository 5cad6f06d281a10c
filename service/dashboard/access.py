"""What stands before the dashboard: a session for every page, its CSRF token for every change."""

from __future__ import annotations

from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from service.dashboard.sessions import COOKIE, CSRF_HEADER, SAFE_METHODS, Sessions, is_same_origin

OPEN_PREFIXES = ("/static/", "/login", "/favicon")


class ReadSession:
    """Notes the session of a request as `scope["state"]["session"]`, and refuses changes that it did not ask for.

    A request that shows a session and wants to change something comes from this site, says so, and carries the
    session's CSRF token in its header. Without a session, pages lead to the sign-in; the API's own check of the bearer
    token stands behind this one.
    """

    def __init__(self, app: ASGIApp, sessions: Sessions) -> None:
        self._app, self._sessions = app, sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        session = self._sessions.read(HTTPConnection(scope).cookies.get(COOKIE))
        has_token = "authorization" in headers
        scope.setdefault("state", {})["session"] = None if has_token else session
        path: str = scope["path"]
        answer: Response | None = None
        if not has_token and scope["method"] not in SAFE_METHODS and (session or path == "/login"):
            is_meant = path == "/login" or (session is not None and session.accepts(headers.get(CSRF_HEADER, "")))
            if not is_meant or not is_same_origin(headers, headers.get("host", "")):
                answer = Response("this request did not come from a page of this server; reload the page\n", 403)
        elif is_page(path) and session is None and not has_token and not path.startswith(OPEN_PREFIXES):
            query = scope["query_string"].decode("latin-1")
            wanted = quote(f"{path}?{query}" if query else path, safe="/")
            answer = RedirectResponse(f"/login?next={wanted}" if path != "/" else "/login", 303)
        await (answer or self._app)(scope, receive, send)


def is_page(path: str) -> bool:
    """True for what the dashboard answers, false for the API and the health routes."""
    return not path.startswith("/api/") and path not in ("/healthz", "/readyz")
