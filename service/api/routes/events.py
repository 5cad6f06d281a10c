"""The route of a study's events, as server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Header, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.responses import Response

from service.api.context import Ledger, StudyPath, context_of
from service.api.stream import follow
from service.api.views import EventView
from service.domain.trial import StudyId
from service.events import read_after

router = APIRouter(prefix="/studies/{study_id}/events", tags=["studies"])

_Revision = Annotated[int | None, Header(alias="Last-Event-ID", ge=0, le=2**63 - 1)]


class NothingMoreError(Exception):
    """The study has ended and the reader has seen all of it; 204 keeps an EventSource from coming back."""


@dataclass(frozen=True)
class Reader:
    """Who reads: which study, from which revision on."""

    study_id: StudyId
    after: int


def install(app: FastAPI) -> None:
    """Answer NothingMoreError."""
    app.add_exception_handler(NothingMoreError, lambda _request, _error: Response(status_code=204))


def _reader(
    ledger: Ledger,
    study_id: StudyPath,
    last_event_id: _Revision = None,
    after: Annotated[int, Query(ge=0, le=2**63 - 1, description="Revision after which to start.")] = 0,
) -> Reader:
    """Checks that the study is there before the stream's status is sent."""
    start = after if last_event_id is None else last_event_id
    with ledger.transaction() as connection:
        batch = read_after(connection, StudyId(study_id), start)
    if batch.is_complete and not batch.events:
        raise NothingMoreError
    return Reader(StudyId(study_id), start)


@router.get(
    "",
    response_class=EventSourceResponse,
    responses={204: {"description": "The study has ended, and the reader has seen its last event."}},
    summary="Follow a study",
)
async def follow_study(request: Request, reader: Annotated[Reader, Depends(_reader)]) -> AsyncIterator[ServerSentEvent]:
    """A study's events from the first, or after Last-Event-ID, each once and in order; ends with the study."""
    context = context_of(request)
    poll_s = context.settings.poll.total_seconds()
    async for event in follow(context.hub, context.database, reader.study_id, reader.after, poll_s):
        yield ServerSentEvent(id=str(event["revision"]), data=EventView.model_validate(event))
