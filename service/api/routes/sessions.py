"""The route that lets whoever holds the token sign a browser in."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, status

from service.api.views import LoginLink
from service.dashboard.sessions import LINK_MAX_AGE_S, Sessions, next_path

router = APIRouter(tags=["dashboard"])


@router.post(
    "/login-links", status_code=status.HTTP_201_CREATED, response_model=LoginLink, summary="Make a sign-in link"
)
def make_login_link(request: Request, next: Annotated[str, Query(max_length=2000)] = "/studies") -> Any:  # noqa: A002
    """A path of the dashboard that signs one browser in, once, within ten minutes."""
    sessions: Sessions = request.app.state.sessions
    return {"path": f"/login?code={sessions.make_link_code()}&next={next_path(next)}", "expires_s": LINK_MAX_AGE_S}
