"""Study files made from studies that are there: as they were frozen, and with changes for a new study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from service import studies
from service.domain.seeds import SPEC_SEED_LIMIT
from service.domain.study import Study
from service.domain.trial import StudyId
from service.errors import InvalidInputError
from service.store import control as store
from service.store.database import Connection
from service.store.studies import StudyRow


def file_of(row: StudyRow) -> Study:
    """The study as its file has it: with the replicates that were registered, and the settings of now."""
    return replace(row.study, replicates=row.registered_replicates)


def clone_document(connection: Connection, study_id: StudyId, changes: Mapping[str, Any]) -> dict[str, Any]:
    """A study file made from another study's, not checked yet.

    Args:
        changes: Merged into the file: objects key by key, null removes a key, everything else replaces it. Without a
            `seed` the clone has the lowest one above the parent's that no study of its workload has.

    Raises:
        NotFoundError: There is no such study.
        InvalidInputError: No seed is left.
    """
    row = studies.get(connection, study_id)
    document: dict[str, Any] = _merged(_written(file_of(row).to_dict()), changes)
    if "seed" not in changes:
        workload = document.get("workload")
        name = workload.get("name") if isinstance(workload, Mapping) else None
        document["seed"] = store.unused_seed(connection, str(name), row.study.seed)
        if document["seed"] >= SPEC_SEED_LIMIT:
            message = f"every seed from {row.study.seed} to {SPEC_SEED_LIMIT - 1} was used; name one"
            raise InvalidInputError("the clone has no seed", [("seed", message)])
    return document


def _written(value: Any) -> Any:
    """Without the keys that are null: in a study file they are left out."""
    if isinstance(value, Mapping):
        return {key: _written(entry) for key, entry in value.items() if entry is not None}
    return value


def _merged(document: Any, changes: Any) -> Any:
    """JSON merge patch (RFC 7386)."""
    if not isinstance(changes, Mapping):
        return changes
    merged = dict(document) if isinstance(document, Mapping) else {}
    for key, value in changes.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key), value)
    return merged
