"""The form for a new study: what it offers comes from the catalog, what it accepts is the API's to judge."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from service import catalogs, studies
from service.dashboard.context import Ledger, Samplers
from service.dashboard.rendering import page
from service.domain.trial import StudyId

router = APIRouter(include_in_schema=False)


@router.get("/studies/new")
def show_form(
    request: Request,
    ledger: Ledger,
    samplers: Samplers,
    parent: Annotated[int | None, Query(alias="from", ge=1, le=2**63 - 1)] = None,
) -> Response:
    """The form, empty or filled with another study's file."""
    with ledger.transaction() as connection:
        catalog = catalogs.describe(connection, samplers)
        row = studies.get(connection, StudyId(parent)) if parent else None
    return page(request, "new_study.html", {"catalog": catalog, "parent": row})
