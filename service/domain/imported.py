"""A search that ran elsewhere, as Tangent keeps it: what it was, its trials, and what could not be carried over."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from service.domain.study import Study
from service.domain.trial import Outcome, Params

ENDPOINTS: Mapping[str, Callable[[float], float]] = {
    "value": lambda value: value,
    "1 - value": lambda value: 1.0 - value,
    "exp(value)": math.exp,
    "exp(-value)": lambda value: math.exp(-value),
}
"""How a value becomes an endpoint: positive, lower is better. The first and third are for values to be minimised."""
FOR_MAXIMISED = ("1 - value", "exp(-value)")


@dataclass(frozen=True)
class ImportedTrial:
    """A trial that ran elsewhere.

    Attributes:
        value: The endpoint; None where the trial failed, diverged, or was pruned without one.
        rungs: Endpoint by step; None where it was no number.
        metrics: Its numeric attributes.
        note: Everything else that was known of it, as JSON.
    """

    number: int
    params: Params
    outcome: Outcome
    value: float | None
    rungs: Mapping[int, float | None]
    metrics: Mapping[str, float]
    reason: str | None
    note: str
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True)
class ImportedStudy:
    """A search that ran elsewhere.

    Attributes:
        study: A specification that describes it: one arm, one replicate, no select, no confirm.
        catalog: The catalog's entries that it uses, as `service.catalogs.record_of` gives them.
        source: Where it comes from, to be kept with it; no secrets.
        notes: Sentences on what is not as it was.
    """

    study: Study
    catalog: Mapping[str, Any]
    source: Mapping[str, Any]
    trials: tuple[ImportedTrial, ...]
    notes: tuple[str, ...] = field(default=())


def endpoint_of(value: float, rule: str, floor: float) -> float | None:
    """The endpoint that a value means; None for one that is no finite number.

    Raises:
        ValueError: It is not above 0 and there is no `floor`.
    """
    if not math.isfinite(value):
        return None
    try:
        endpoint = ENDPOINTS[rule](value)
    except OverflowError:
        return None
    if not math.isfinite(endpoint):
        return None
    if max(endpoint, floor) <= 0:
        raise ValueError(f"{rule} of {value:g} is {endpoint:g}, and an endpoint must be above 0")
    return max(endpoint, floor)
