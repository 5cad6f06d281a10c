"""Routes of trials."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from service import trials
from service.api.context import Ledger, StudyPath, TrialPath
from service.api.pages import make_token, read_token
from service.api.views import TrialDetail, TrialPage
from service.domain.trial import Phase, StudyId, TrialState

router = APIRouter(prefix="/studies/{study_id}/trials", tags=["trials"])


@router.get("", response_model=TrialPage, summary="List a study's trials")
def list_trials(
    ledger: Ledger,
    study_id: StudyPath,
    arm: Annotated[str | None, Query(max_length=64, pattern="^[A-Za-z0-9_.+-]+$")] = None,
    phase: Phase | None = None,
    state: TrialState | None = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    page_token: Annotated[str | None, Query(max_length=100)] = None,
) -> Any:
    """Trials by number."""
    after = read_token("trials", page_token)
    with ledger.transaction() as connection:
        found, following = trials.list_page(
            connection,
            StudyId(study_id),
            after=-1 if after is None else after,
            limit=limit,
            arm=arm,
            phase=phase,
            state=state,
        )
    return {"trials": found, "next_page_token": make_token("trials", following)}


@router.get("/{number}", response_model=TrialDetail, summary="Show a trial")
def show_trial(ledger: Ledger, study_id: StudyPath, number: TrialPath) -> Any:
    """A trial with its attempts and the measurements of its epochs."""
    with ledger.transaction() as connection:
        return trials.show(connection, StudyId(study_id), number)
