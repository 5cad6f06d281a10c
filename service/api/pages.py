"""Tokens of keyset pages: opaque to clients, a number to us."""

from __future__ import annotations

import base64
import binascii

from service.errors import InvalidInputError

_LARGEST = 2**63 - 1


def make_token(kind: str, key: int | None) -> str | None:
    """The token that continues a list after `key`; None at its end."""
    return None if key is None else base64.urlsafe_b64encode(f"{kind}:{key}".encode()).decode().rstrip("=")


def read_token(kind: str, token: str | None) -> int | None:
    """The key in a token of `make_token`, None where there is no token.

    Raises:
        InvalidInputError: The token was not made for this list.
    """
    if token is None:
        return None
    try:
        found, _, key = base64.b64decode(token + "=" * (-len(token) % 4), b"-_", validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        found, key = "", ""
    if found != kind or not key.isascii() or not key.isdigit() or len(key) > 19 or int(key) > _LARGEST:
        message = "is no next_page_token of this list; leave it out to start anew"
        raise InvalidInputError("the page token cannot be read", [("page_token", message)])
    return int(key)
