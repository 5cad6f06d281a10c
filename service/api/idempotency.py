"""`Idempotency-Key`: a request that is sent twice, because its answer was lost, acts once.

The answer is kept in the very transaction that did what was asked: there is no moment in which one is there without
the other, whoever is killed. An answer that is an error is not kept, for then nothing was done.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Request, Response

from service.errors import InFlightError, InvalidInputError, KeyReusedError
from service.store import idempotency as store
from service.store.database import Connection, Database

_KEY = re.compile(r"[A-Za-z0-9_.:/+=-]{1,200}")
_NOT_KEPT = ("content-length", "content-type")


@dataclass(frozen=True)
class Once:
    """A request that may have come before.

    Attributes:
        key: What the client calls it; None where it does not.
        route: Method, path and query: the same key names different requests on different routes.
        body_hash: Of the body's bytes.
    """

    key: str | None
    route: str
    body_hash: str

    def answer(self, ledger: Database, act: Callable[[Connection], Response]) -> Response:
        """Do what is asked in one transaction, or repeat the answer to the same request.

        Raises:
            InFlightError: The same request is being answered.
            KeyReusedError: The key came with another body before.
        """
        with ledger.transaction() as connection:
            if self.key is None:
                return act(connection)
            if not store.begin(connection, self.key, self.route):
                raise InFlightError(f"a request with Idempotency-Key '{self.key}' is being answered; ask again soon")
            kept = store.find(connection, self.key, self.route)
            if kept is not None:
                return self._repeated(kept)
            response = act(connection)
            store.keep(connection, self.key, self.route, self._answer(response))
            return response

    def _repeated(self, kept: store.Answer) -> Response:
        if kept.body_hash != self.body_hash:
            hours = round(store.KEPT.total_seconds() / 3600)
            raise KeyReusedError(
                f"Idempotency-Key '{self.key}' came with another body in the last {hours} hours; take a new key"
            )
        headers = {**kept.headers, "Idempotency-Replayed": "true"}
        return Response(kept.body, kept.status, headers, media_type="application/json")

    def _answer(self, response: Response) -> store.Answer:
        headers = {name: value for name, value in response.headers.items() if name not in _NOT_KEPT}
        return store.Answer(self.body_hash, response.status_code, headers, bytes(response.body).decode())


async def _once(
    request: Request,
    key: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            description="The client's name for this request, new for each: sent again with the same body within 24 "
            "hours, it is answered as before, and nothing is done twice.",
            examples=["1f0e7c6a-submit"],
        ),
    ] = None,
) -> Once:
    if key is not None:
        key = key.removeprefix('"').removesuffix('"')
        if not _KEY.fullmatch(key):
            message = "must have 1 to 200 letters, digits and _ . : / + = -; a UUID is a good one"
            raise InvalidInputError("the request's parameters are wrong", [("Idempotency-Key", message)])
    route = f"{request.method} {request.url.path}"
    if request.url.query:
        route += f"?{request.url.query}"
    return Once(key, route, hashlib.sha256(await request.body()).hexdigest())


OnceOnly = Annotated[Once, Depends(_once)]
"""The request, to be answered once for its key."""
