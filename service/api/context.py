"""What every route may use: the settings, the ledger, the hub that wakes event streams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Path, Request

from service.api.stream import Hub
from service.catalogs import offered_samplers
from service.config import Settings
from service.store.database import Database


@dataclass(frozen=True)
class Context:
    """One API process."""

    settings: Settings
    database: Database
    hub: Hub


def context_of(request: Request) -> Context:
    """The process that answers the request."""
    context: Context = request.app.state.context
    return context


def _ledger(request: Request) -> Database:
    return context_of(request).database


def _samplers(request: Request) -> tuple[str, ...]:
    return offered_samplers(context_of(request).settings)


Ledger = Annotated[Database, Depends(_ledger)]
"""The ledger; a route opens one transaction on it, and commits by leaving the block."""
Samplers = Annotated[tuple[str, ...], Depends(_samplers)]
"""The samplers that a study may name."""
StudyPath = Annotated[int, Path(ge=1, le=2**63 - 1, description="The study's id.", examples=[7])]
TrialPath = Annotated[int, Path(ge=0, le=2**31 - 1, description="The trial's number in its study.", examples=[0])]
