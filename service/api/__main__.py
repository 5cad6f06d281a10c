"""`python -m service.api`: serve the API until SIGTERM or SIGINT.

When it answers it prints one line of JSON, {"address": "http://…"}, for the supervisor; logs go to stderr.
"""

from __future__ import annotations

import json
import logging
import signal
import socket
import sys
from types import FrameType

import uvicorn

from service.api.app import context_of, create_app
from service.config import load_settings
from service.errors import ConfigurationError, TangentError

_GRACE_S = 5
_BACKLOG = 512


class _Server(uvicorn.Server):
    """Says where it listens, and ends event streams when it has to stop."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and sockets:
            sys.stdout.write(json.dumps({"address": _address(sockets[0])}) + "\n")
            sys.stdout.flush()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        context_of(self.config.app).hub.close()
        super().handle_exit(sig, frame)


def main() -> int:
    """Serve; returns the exit code."""
    try:
        settings = load_settings()
        app = create_app(settings)
        listener = _bind(settings.api_host, settings.api_port)
    except TangentError as error:
        sys.stderr.write(f"tangent: {error}\n")
        return 1
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=_GRACE_S
    )
    # uvicorn raises the signal again when it is done; stopping in good order is exit code 0.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    with listener:
        _Server(config).run(sockets=[listener])
    return 0


def _bind(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 takes a free one."""
    listener = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        if listener is not None:
            listener.close()
        reason = error.strerror or str(error)
        rule = "stop what listens there, or set TANGENT_API_HOST and TANGENT_API_PORT (0 takes a free port)"
        raise ConfigurationError(f"the API cannot listen on port {port} of {host}: {reason}; {rule}") from error
    return listener


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


if __name__ == "__main__":
    raise SystemExit(main())
