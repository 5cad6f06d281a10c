"""Routes of what can be run and who runs it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from service import catalogs
from service.api.context import Ledger, Samplers
from service.api.views import CatalogView, WorkerList

router = APIRouter(tags=["catalog"])


@router.get("/catalog", response_model=CatalogView, summary="What a study file may name")
def show_catalog(ledger: Ledger, samplers: Samplers) -> Any:
    """Optimizers with their hyperparameters and default ranges, workloads with their options, samplers, pruners."""
    with ledger.transaction() as connection:
        return catalogs.describe(connection, samplers)


@router.get("/workers", response_model=WorkerList, summary="Workers")
def list_workers(ledger: Ledger) -> Any:
    """Workers, those online first, with the trials that they run."""
    with ledger.transaction() as connection:
        return {"workers": catalogs.list_workers(connection)}
