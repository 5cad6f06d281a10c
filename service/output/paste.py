"""The winning configuration of an arm as Python."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.domain.catalog import BUILT_IN, Optimizer
from service.domain.snippet import constructor_lines


def best_winner(arm: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The replicate's winner with the lowest mean over its select runs; None where no replicate has one."""
    chosen = [winner for winner in arm["winners"] if winner["select_mean"] is not None and winner["params"]]
    return min(chosen, key=lambda winner: (winner["select_mean"], winner["replicate"])) if chosen else None


def lines_to_paste(arm: Mapping[str, Any]) -> list[str]:
    """Lines that construct the arm's best winner, chosen on validation, and where it comes from; empty without one."""
    winner, optimizer = best_winner(arm), _optimizer(str(arm["optimizer"]))
    if winner is None or optimizer is None:
        return []
    source = f"# {arm['name']}, replicate {winner['replicate']}, trial {winner['trial']}: chosen on validation"
    group = (
        "# one parameter group: weight decay on every parameter, biases and normalizations included, as in the study"
    )
    return [*constructor_lines(optimizer, winner["params"]), source, group]


def _optimizer(name: str) -> Optimizer | None:
    if name in BUILT_IN.optimizers:
        return BUILT_IN.optimizers[name]
    return Optimizer(name, "other", "unknown", False, (), {}, name) if ":" in name else None
