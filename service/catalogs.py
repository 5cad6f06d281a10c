"""What studies may name: the built-in catalog with what online workers registered."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from typing import Any

from service.config import Settings, names
from service.domain.catalog import BUILT_IN, Catalog, Optimizer, Workload
from service.domain.samplers import PRUNERS, SAMPLERS, sampler_kind
from service.domain.study import Study
from service.store import workers
from service.store.database import Connection
from service.store.studies import StudyRow


def current_catalog(connection: Connection) -> Catalog:
    """The built-in entries and those of online workers."""
    optimizers, workloads = workers.registered_catalog(connection)
    return _extended(optimizers, workloads)


def record_of(study: Study, catalog: Catalog) -> dict[str, Any]:
    """The catalog entries that a study uses, to be kept with it: its report must not depend on who is online."""
    used = sorted({arm.optimizer for arm in study.arms})
    return {
        "optimizers": {name: catalog.optimizers[name].to_dict() for name in used},
        "workloads": {study.workload: catalog.workloads[study.workload].to_dict()},
    }


def catalog_of(row: StudyRow) -> Catalog:
    """The catalog as it was when the study was submitted, as far as the study uses it; built-in entries are current."""
    recorded = row.environment.get("catalog", {})
    return _extended(recorded.get("optimizers", {}), recorded.get("workloads", {}))


def describe(connection: Connection, samplers: Iterable[str] = tuple(SAMPLERS)) -> dict[str, Any]:
    """Everything a study file may name, as JSON, with whether an online worker has it."""
    optimizers, workloads = workers.registered_catalog(connection)
    catalog = _extended(optimizers, workloads)
    return {
        "optimizers": [
            {**catalog.optimizers[name].to_dict(), "is_available": name in optimizers}
            for name in sorted(catalog.optimizers)
        ],
        "workloads": [
            {**catalog.workloads[name].to_dict(), "is_available": name in workloads}
            for name in sorted(catalog.workloads)
        ],
        "samplers": [_sampler(name) for name in sorted(samplers)],
        "pruners": [
            {"name": name, "options": [option.to_dict() for option in options]} for name, options in PRUNERS.items()
        ],
    }


def _sampler(name: str) -> dict[str, Any]:
    kind = sampler_kind(name)
    return {"name": name, "options": [option.to_dict() for option in kind.options] if kind else []}


def offered_samplers(settings: Settings) -> tuple[str, ...]:
    """Samplers that a study may name here: the built-in ones that can run, and those of the allow-list.

    Those that need PyTorch are offered where this process could import it (it does not), or where the setting says that
    the coordinator can.
    """
    has_torch = settings.coordinator_has_torch or importlib.util.find_spec("torch") is not None
    built_in = [name for name, kind in SAMPLERS.items() if has_torch or not kind.needs_torch]
    return (*built_in, *names(settings.allowed_samplers))


def list_workers(connection: Connection) -> list[dict[str, Any]]:
    """Workers, those online first, with the trials that they run."""
    return workers.list_workers(connection)


def _extended(optimizers: dict[str, Any], workloads: dict[str, Any]) -> Catalog:
    return BUILT_IN.extended(
        {name: Optimizer.from_dict(entry) for name, entry in optimizers.items()},
        {name: Workload.from_dict(entry) for name, entry in workloads.items()},
    )
