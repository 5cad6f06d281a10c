"""Pages for what goes wrong: not found, no ledger, something unexpected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from service.dashboard.rendering import page

_TITLES = {404: "There is no such page", 503: "The ledger does not answer", 500: "Something went wrong here"}


def error_page(request: Request, status: int, problem: Mapping[str, Any]) -> Response:
    """A page that says what happened, and under which id the log has it."""
    shown = {
        "title": _TITLES.get(status, "That did not work"),
        "detail": problem.get("detail", ""),
        "problem_id": problem.get("error_id"),
        "status": status,
    }
    return page(request, "error.html", shown, status=status)
