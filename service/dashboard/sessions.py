"""Signed-in browsers: a signed cookie, a CSRF token that belongs to it, and links that sign in once.

A session holds no secret of its own: it says that somebody knew the API's token at a time. Changing the token ends all
sessions.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from urllib.parse import urlsplit

from itsdangerous import BadSignature, URLSafeTimedSerializer
from starlette.datastructures import Headers
from starlette.responses import Response

COOKIE = "tangent_session"
CSRF_HEADER = "x-csrf-token"
CSRF_FIELD = "csrf_token"
MAX_AGE_S = 14 * 86_400
LINK_MAX_AGE_S = 600
_TOKEN_BYTES = hashlib.sha256().digest_size
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True)
class Session:
    """A signed-in browser.

    Attributes:
        id: Random; changes at each sign-in.
        csrf_token: What a request that changes something must carry, in the header X-CSRF-Token or in a form's field.
    """

    id: str
    csrf_token: str

    @property
    def page_token(self) -> str:
        """The CSRF token as a page carries it: another text each time, so that compressed lengths tell nothing."""
        pad = secrets.token_bytes(_TOKEN_BYTES)
        return (pad + _xor(pad, bytes.fromhex(self.csrf_token))).hex()

    def accepts(self, given: str) -> bool:
        """Whether that is the CSRF token, as it is or as a page carries it."""
        try:
            raw = bytes.fromhex(given)
        except ValueError:
            return False
        if len(raw) == 2 * _TOKEN_BYTES:
            raw = _xor(raw[:_TOKEN_BYTES], raw[_TOKEN_BYTES:])
        return hmac.compare_digest(raw, bytes.fromhex(self.csrf_token))


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


class Sessions:
    """Makes and reads sessions with keys that follow from the API's token."""

    def __init__(self, token: str) -> None:
        self._token = token
        self._cookies = URLSafeTimedSerializer(self._key("session"))
        self._links = URLSafeTimedSerializer(self._key("link"))

    def _key(self, purpose: str) -> bytes:
        return hmac.digest(self._token.encode(), purpose.encode(), hashlib.sha256)

    def is_token(self, given: str) -> bool:
        """Whether that is the API's token."""
        return hmac.compare_digest(given.strip().encode(), self._token.encode())

    def open(self, response: Response, *, is_https: bool) -> Session:
        """Sign the browser in that gets this response."""
        session = self._session(secrets.token_urlsafe(16))
        value = self._cookies.dumps(session.id)
        response.set_cookie(COOKIE, value, max_age=MAX_AGE_S, httponly=True, samesite="lax", secure=is_https, path="/")
        return session

    def close(self, response: Response) -> None:
        """Sign the browser out."""
        response.delete_cookie(COOKIE, path="/", httponly=True, samesite="lax")

    def read(self, cookie: str | None) -> Session | None:
        """The session of a cookie, None where it is not ours, too old, or there is none."""
        if not cookie:
            return None
        try:
            return self._session(str(self._cookies.loads(cookie, max_age=MAX_AGE_S)))
        except BadSignature:
            return None

    def _session(self, session_id: str) -> Session:
        return Session(session_id, hmac.new(self._key("csrf"), session_id.encode(), hashlib.sha256).hexdigest())

    def make_link_code(self) -> str:
        """A code that signs in once, within ten minutes; who spends it must note its `link_id`."""
        return self._links.dumps(secrets.token_urlsafe(16))

    def link_id(self, code: str) -> str | None:
        """The name of a code, to be spent once; None where it is not ours or too old."""
        try:
            return str(self._links.loads(code, max_age=LINK_MAX_AGE_S))
        except BadSignature:
            return None


def is_same_origin(headers: Headers, host: str) -> bool:
    """False where a browser says that another site sent the request; absent headers say nothing."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or (origin != "null" and urlsplit(origin).netloc.lower() == host.lower())


def next_path(given: str | None) -> str:
    """Where to go after signing in: a path of this site, never another address."""
    is_path = given is not None and given.startswith("/") and not given.startswith(("//", "/\\")) and "\n" not in given
    return given if is_path and given is not None else "/studies"
