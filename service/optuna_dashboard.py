"""`python -m service.optuna_dashboard STUDY`: the real optuna-dashboard over one study of the ledger, read-only.

It listens on 127.0.0.1 alone. Whoever has the address with its token may look; other users of the machine may not, nor
may a page of another site. Nothing can be changed: the requests are refused here, writes by the storage, and what got
past both by Postgres.
"""

from __future__ import annotations

import argparse
import hmac
import json
import secrets
import signal
import sys
from collections.abc import Iterable, Sequence
from http.cookies import SimpleCookie
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from service.config import load_settings
from service.errors import ConfigurationError, NotFoundError, TangentError
from service.local_ledger import ledger_url
from service.optuna_storage import LedgerStorage

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

HOST = "127.0.0.1"
_COOKIE = "tangent_optuna"
_MISSING = (
    "optuna-dashboard is not installed beside Tangent; install it with: pip install 'optuna-dashboard>=0.21,<0.22'"
)


class Guard:
    """Passes on what may be answered: requests for this very address, with the token, that read.

    The token comes once in the address (`?token=`) and is kept in a cookie from then on.
    """

    def __init__(self, app: WSGIApplication, token: str, refusal: str) -> None:
        """Stand before `app`; `refusal` is the sentence for whoever wants to change something."""
        self._app, self._token, self._refusal = app, token, refusal

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        if _hostname(environ) not in (HOST, "localhost"):
            return _refuse(start, "421 Misdirected Request", f"this dashboard answers to {HOST} only")
        given = parse_qs(environ.get("QUERY_STRING", "")).get("token", [""])[0]
        if given and hmac.compare_digest(given.encode(), self._token.encode()):
            cookie = f"{_COOKIE}={self._token}; Path=/; HttpOnly; SameSite=Strict"
            start("303 See Other", [("Location", "/dashboard"), ("Set-Cookie", cookie)])
            return []
        if not hmac.compare_digest(_cookie(environ).encode(), self._token.encode()):
            rule = "open the address with its token, which `tangent optuna-dashboard` printed"
            return _refuse(start, "403 Forbidden", rule)
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return _refuse(start, "403 Forbidden", self._refusal)
        return self._app(environ, start)


def _hostname(environ: WSGIEnvironment) -> str:
    return str(environ.get("HTTP_HOST", "")).rpartition(":")[0] or str(environ.get("HTTP_HOST", ""))


def _cookie(environ: WSGIEnvironment) -> str:
    found = SimpleCookie(environ.get("HTTP_COOKIE", "")).get(_COOKIE)
    return found.value if found else ""


def _refuse(start: StartResponse, status: str, reason: str) -> list[bytes]:
    start(status, [("Content-Type", "application/json")])
    return [json.dumps({"reason": reason}).encode()]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        """Bind, without the name look-up of the base class: there may be no name server."""
        self.allow_reuse_address = True
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = HOST, self.server_address[1]
        self.setup_environ()


class _Handler(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Nothing: the address of the first request holds the token."""


def serve(storage: LedgerStorage, port: int) -> tuple[WSGIServer, str]:
    """A server that is bound but does not answer yet, and the address to open.

    Raises:
        ConfigurationError: optuna-dashboard is not installed, or the port is taken.
    """
    try:
        import optuna_dashboard
    except ImportError as error:
        raise ConfigurationError(_MISSING) from error
    token = secrets.token_urlsafe(24)
    guard = Guard(optuna_dashboard.wsgi(storage), token, LedgerStorage.refusal)
    try:
        server = make_server(HOST, port, guard, server_class=_Server, handler_class=_Handler)
    except OSError as error:
        raise ConfigurationError(f"port {port} cannot be used ({error.strerror}); choose one with --port") from error
    return server, f"http://{HOST}:{server.server_port}/?token={token}"


def main(words: Sequence[str]) -> int:
    """Serve until SIGTERM or Ctrl-C; 0, or 1 with one sentence."""
    parser = argparse.ArgumentParser(prog="python -m service.optuna_dashboard")
    parser.add_argument("study", type=int)
    parser.add_argument("--port", type=int, default=8080)
    arguments = parser.parse_args(words)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        _run(arguments.study, arguments.port)
    except TangentError as error:
        sys.stderr.write(f"tangent: {error}\n")
        return 1
    except KeyboardInterrupt:
        pass
    return 0


def _run(study_id: int, port: int) -> None:
    storage = LedgerStorage.connect(ledger_url(load_settings(), "worker"), study_id)
    try:
        if not storage.get_all_studies():
            raise NotFoundError(f"there is no study {study_id}")
        server, address = serve(storage, port)
        with server:
            sys.stdout.write(f"{address}\n")
            sys.stdout.flush()
            server.serve_forever()
    finally:
        storage.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
