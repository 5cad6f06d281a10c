"""What the dashboard's routes share with the API's process; it does not import the API, which mounts it."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Path, Request

from service.catalogs import offered_samplers
from service.config import Settings
from service.dashboard.fresh import FreshReports
from service.dashboard.sessions import Sessions
from service.store.database import Database


def settings_of(request: Request) -> Settings:
    """The process's settings."""
    settings: Settings = request.app.state.context.settings
    return settings


def sessions_of(request: Request) -> Sessions:
    """Makes and reads sessions."""
    sessions: Sessions = request.app.state.sessions
    return sessions


def _ledger(request: Request) -> Database:
    database: Database = request.app.state.context.database
    return database


def _samplers(request: Request) -> tuple[str, ...]:
    return offered_samplers(settings_of(request))


Ledger = Annotated[Database, Depends(_ledger)]
"""The ledger; a route opens one transaction on it."""
Samplers = Annotated[tuple[str, ...], Depends(_samplers)]
"""The samplers that a study may name."""
StudyPath = Annotated[int, Path(ge=1, le=2**63 - 1)]
TrialPath = Annotated[int, Path(ge=0, le=2**31 - 1)]


def reports_of(request: Request) -> FreshReports:
    """Gives reports, and asks workers for newer ones."""
    reports: FreshReports = request.app.state.fresh_reports
    return reports
