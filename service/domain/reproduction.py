"""Is a number reproduced? Bit by bit on the same processor with the same code and versions, else within a tolerance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.domain.wording import listing, percent

TOLERANCE = 0.25
"""On the log of the endpoint: twice the usual spread between seeds. Other processors round differently, training
amplifies that, and after some hundred steps the run is another draw of the same distribution."""

DECISIVE = ("cpu", "cpu_capability", "cuda_device", "n_threads", "python", "torch", "numpy", "sklearn", "adamp")


@dataclass(frozen=True)
class Repeated:
    """One execution of a trial, as it is compared.

    Attributes:
        outcome: "finished", "diverged" or "pruned".
        value: Validation endpoint, of a pruned run that of the epoch it was pruned at; None where it diverged.
        test_value: Test endpoint; confirm runs only.
        epochs: Validation endpoint by epoch.
        environment: Versions and machine.
        content_key: Names all that determines the training; None where unknown.
    """

    outcome: str
    value: float | None
    test_value: float | None
    epochs: Mapping[int, float | None]
    environment: Mapping[str, Any]
    content_key: str | None


@dataclass(frozen=True)
class Reproduction:
    """The answer.

    Attributes:
        is_reproduced: What was demanded holds.
        is_bitwise: Every epoch and both endpoints are equal to the last bit.
        is_bitwise_demanded: True where processor, versions and code are the same.
        differing: What of the environment differs.
        first_different_epoch: None where no epoch differs.
        log_ratio: Of the test endpoint where there is one, else of the validation endpoint; None where one diverged.
        sentence: Complete on its own.
    """

    is_reproduced: bool
    is_bitwise: bool
    is_bitwise_demanded: bool
    differing: tuple[str, ...]
    first_different_epoch: int | None
    log_ratio: float | None
    tolerance: float
    sentence: str


def judge_reproduction(stored: Repeated, again: Repeated, tolerance: float = TOLERANCE) -> Reproduction:
    """Compare a stored run with its repetition.

    Args:
        stored: What the ledger has.
        again: What was measured now.
        tolerance: Largest |log ratio| of the endpoints where bits cannot be demanded, > 0.
    """
    differing = [key for key in DECISIVE if stored.environment.get(key) != again.environment.get(key)]
    if stored.content_key is not None and stored.content_key != again.content_key and "torch" not in differing:
        differing.append("training code")
    epoch = _first_different(stored.epochs, again.epochs)
    ends = (stored.outcome, stored.value, stored.test_value) == (again.outcome, again.value, again.test_value)
    is_bitwise = ends and epoch is None
    ratio = _log_ratio(stored, again)
    is_close = stored.outcome == again.outcome and (ratio is None or abs(ratio) <= tolerance)
    is_reproduced = is_bitwise if not differing else is_close
    return Reproduction(
        is_reproduced=is_reproduced,
        is_bitwise=is_bitwise,
        is_bitwise_demanded=not differing,
        differing=tuple(differing),
        first_different_epoch=epoch,
        log_ratio=ratio,
        tolerance=tolerance,
        sentence=_sentence(
            is_reproduced, is_bitwise, differing, epoch, ratio, tolerance, (stored.outcome, again.outcome)
        ),
    )


def _first_different(stored: Mapping[int, float | None], again: Mapping[int, float | None]) -> int | None:
    return next((epoch for epoch in sorted(stored) if epoch not in again or stored[epoch] != again[epoch]), None)


def _log_ratio(stored: Repeated, again: Repeated) -> float | None:
    pairs = ((stored.test_value, again.test_value), (stored.value, again.value))
    for before, after in pairs:
        if before is not None and after is not None and before > 0 and after > 0:
            return math.log(after / before)
    return None


def _sentence(
    is_reproduced: bool,
    is_bitwise: bool,
    differing: Sequence[str],
    epoch: int | None,
    ratio: float | None,
    tolerance: float,
    outcomes: tuple[str, str],
) -> str:
    if is_bitwise:
        also = f", with different {listing(list(differing))}" if differing else ""
        return f"Reproduced bit by bit, every epoch and both endpoints{also}."
    where = "in the final endpoint only" if epoch is None else f"from epoch {epoch} on"
    if outcomes[0] != outcomes[1]:
        size = f"the ledger's run {outcomes[0]}, this one {outcomes[1]}"
    else:
        size = "both diverged" if ratio is None else f"the endpoint differs by {percent(ratio)}"
    if not differing:
        return f"Not reproduced: processor, versions and code are the same, but the runs differ {where}; {size}."
    allowed = f"{percent(tolerance)} are allowed with different {listing(list(differing))}"
    return f"{'Reproduced' if is_reproduced else 'Not reproduced'} within a tolerance: {size}; {allowed}."
