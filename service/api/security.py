"""What stands before every route: the Host header, the bearer token, the size of the body.

Plain ASGI, outside FastAPI, so that a new route is protected before anybody thinks of it.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.problems import BadHostError, BodyTooLargeError, UnauthorizedError, problem_response
from service.dashboard.access import OPEN_PREFIXES

OPEN_PATHS = frozenset({"/healthz", "/readyz"})
_DRAIN_FACTOR = 64


class CheckHost:
    """Answers only where every Host header is an allowed one, with or without a port; "*" allows all."""

    def __init__(self, app: ASGIApp, allowed: Iterable[str]) -> None:
        self._app, self._allowed = app, frozenset(entry.lower() for entry in allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http" or self._is_allowed(_headers(scope, b"host")):
            await self._app(scope, receive, send)
            return
        error = BadHostError("this server does not answer to that Host header; see TANGENT_ALLOWED_HOSTS")
        await problem_response(error, scope["path"])(scope, receive, send)

    def _is_allowed(self, hosts: list[bytes]) -> bool:
        if "*" in self._allowed:
            return True
        names = {host.decode("latin-1").lower() for host in hosts}
        return len(names) == 1 and all(name in self._allowed or _hostname(name) in self._allowed for name in names)


class RequireToken:
    """Answers only to the bearer token or in a signed-in session, but for health and for signing in."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app, self._expected = app, token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http" or self._is_open(scope) or self._is_authorized(scope):
            await self._app(scope, receive, send)
            return
        given = _headers(scope, b"authorization")
        rule = "the token is not the right one" if given else "this needs the header 'Authorization: Bearer <token>'"
        error = UnauthorizedError(f"{rule}; a local instance keeps its token in .tangent/token")
        await problem_response(error, scope["path"])(scope, receive, send)

    @staticmethod
    def _is_open(scope: Scope) -> bool:
        return scope["path"] in OPEN_PATHS or str(scope["path"]).startswith(OPEN_PREFIXES)

    def _is_authorized(self, scope: Scope) -> bool:
        if scope.get("state", {}).get("session") is not None:
            return True
        given = _headers(scope, b"authorization")
        if len(given) != 1:
            return False
        kind, _, token = given[0].partition(b" ")
        return kind.lower() == b"bearer" and hmac.compare_digest(token.strip(), self._expected)


class LimitBody:
    """Refuses bodies over a limit: at once where their length is declared, else when they grow past it."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app, self._max_bytes = app, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with a counted body, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif self._declared(scope) > self._max_bytes:
            await self._drain(receive)
            await problem_response(self._error(), scope["path"])(scope, receive, send)
        else:
            await self._app(scope, self._counted(receive), send)

    def _counted(self, receive: Receive) -> Receive:
        n_bytes = 0

        async def counted() -> Message:
            nonlocal n_bytes
            message = await receive()
            n_bytes += len(message.get("body", b""))
            if n_bytes > self._max_bytes:
                await self._drain(receive)
                raise self._error()
            return message

        return counted

    async def _drain(self, receive: Receive) -> None:
        """Read on for a while: a client that is cut off in mid-sentence sees a reset and not the answer."""
        n_bytes = 0
        while n_bytes < _DRAIN_FACTOR * self._max_bytes:
            message = await receive()
            n_bytes += len(message.get("body", b""))
            if not message.get("more_body", False):
                return

    def _error(self) -> BodyTooLargeError:
        return BodyTooLargeError(f"the body is larger than {self._max_bytes:,} bytes")

    @staticmethod
    def _declared(scope: Scope) -> int:
        lengths = [value for value in _headers(scope, b"content-length") if value.isdigit()]
        return int(lengths[0][:20]) if lengths else 0


def _headers(scope: Scope, name: bytes) -> list[bytes]:
    return [value for key, value in scope["headers"] if key == name]


def _hostname(host: str) -> str:
    """Without the port; an IPv6 address keeps its brackets."""
    name, separator, port = host.rpartition(":")
    return name if separator and port.isdigit() and not name.endswith(":") else host
