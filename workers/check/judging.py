"""Errors of trajectories, tensor by tensor, and the limits they are held to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from workers.check.probe.cases import Case

Result = Mapping[str, Any]

HUGE = 1e9
"""Stands for an error without a number: a step that raises, a NaN."""

# Summing, say, in another order changes each step by some roundings; errors add up over the steps.
_ROUNDINGS_PER_STEP = 4


@dataclass(frozen=True)
class Unit:
    """One tensor of one case, judged.

    Attributes:
        case: The case's place.
        tensor: The tensor's place in it.
        error: Largest |theta - ref| over the steps, relative to the displacement; HUGE for what is no number.
        limit: What it is held to, at the step where error / limit is largest.
        first_step: The first step whose error is over its limit, from 1; None where none is.
        note: What is wrong where that is no number.
    """

    case: int
    tensor: int
    error: float
    limit: float
    first_step: int | None
    note: str = ""

    @property
    def is_failed(self) -> bool:
        """Whether the error is over its limit."""
        return self.first_step is not None


def judge_exact(place: int, case: Case, golden: Result, found: Result, tolerance: float) -> list[Unit]:
    """A 64-bit trajectory against the golden; where steps are tiny, the limit is what 64 bit can resolve."""
    if note := _difference(golden, found):
        return [Unit(place, i, HUGE, tolerance, 1, note) for i in range(len(case.shapes))]
    if "raised" in golden:
        return [Unit(place, i, 0.0, tolerance, None) for i in range(len(case.shapes))]
    units = []
    pairs = zip(_tensors(case, golden), _tensors(case, found), strict=True)
    for i, (ref, got) in enumerate(pairs):
        errors = displacement_errors(ref, got)
        units.append(_unit(place, i, errors, _limits(ref, tolerance), case.steps))
    return units


def judge_rounded(
    place: int, case: Case, golden: Result, baseline: Result, found: Result, factor: float, floor: float
) -> list[Unit]:
    """A trajectory in lower precision against `factor` times the baseline's error on the same case."""
    if note := _difference(baseline, found):
        return [Unit(place, i, HUGE, floor, 1, note) for i in range(len(case.shapes))]
    if "raised" in golden or "raised" in baseline:
        return [Unit(place, i, 0.0, floor, None) for i in range(len(case.shapes))]
    limit = max(floor, factor * worst_error(case, golden, baseline))
    units = []
    for i, (ref, got) in enumerate(zip(_tensors(case, golden), _tensors(case, found), strict=True)):
        errors = displacement_errors(ref, got)
        units.append(_unit(place, i, errors, torch.full_like(errors, limit), case.steps))
    return units


def worst_error(case: Case, golden: Result, found: Result) -> float:
    """The largest error over the steps and tensors of one case."""
    pairs = zip(_tensors(case, golden), _tensors(case, found), strict=True)
    return max(displacement_errors(ref, got).max().item() for ref, got in pairs)


def displacement_errors(ref: Tensor, got: Tensor) -> Tensor:
    """|theta - ref| after each step, over the largest |ref - theta_0| so far.

    Args:
        ref: Shape (steps + 1, elements), the start first.
        got: Likewise.

    Returns:
        Shape (steps,). Where `ref` has not moved, relative to its size, or absolute if that is 0. Equal infinities and
        NaNs differ by nothing; others by HUGE.
    """
    apart = torch.where(_same(ref, got), torch.zeros_like(ref), got - ref).nan_to_num(HUGE, HUGE, HUGE)
    distance = apart[1:].norm(dim=1)
    return torch.where(distance > 0, distance / _sizes(ref), torch.zeros_like(distance)).clamp_max(HUGE)


def _sizes(ref: Tensor) -> Tensor:
    # The largest displacement so far: a weight that comes back to its start would magnify roundings without bound.
    moved = (ref[1:] - ref[0]).nan_to_num(0.0, 0.0, 0.0).norm(dim=1).cummax(0).values
    own = ref[0].norm()
    return torch.where(moved > 0, moved, own if own > 0 else torch.ones_like(own))


def _limits(ref: Tensor, tolerance: float) -> Tensor:
    """The tolerance, or the roundings of the weights where these are larger, per step."""
    steps = torch.arange(1, len(ref), dtype=torch.float64)
    size = ref.nan_to_num(0.0, 0.0, 0.0).norm(dim=1).cummax(0).values[1:]
    roundings = _ROUNDINGS_PER_STEP * steps * 2.0**-53 * size / _sizes(ref)
    return torch.clamp(roundings, min=tolerance)


def _unit(case: int, tensor: int, errors: Tensor, limits: Tensor, n_steps: int) -> Unit:
    """Of large cases the errors are those of the last step alone."""
    over = (errors > limits).nonzero()
    worst = int((errors / limits).argmax())
    first = n_steps - len(errors) + int(over[0]) + 1 if len(over) else None
    return Unit(case, tensor, errors[worst].item(), limits[worst].item(), first)


def _same(a: Tensor, b: Tensor) -> Tensor:
    return torch.logical_or(a == b, a.isnan() & b.isnan())


def _tensors(case: Case, result: Result) -> Sequence[Tensor]:
    return torch.split(result["weights"], case.sizes, dim=1)


def _difference(expected: Result, found: Result) -> str:
    """What the candidate does otherwise that is no number; "" for nothing."""
    if "raised" in found and "raised" not in expected:
        return f"it raises {on_one_line(found['sentence'])}"
    if "raised" in expected and found.get("raised") != expected["raised"]:
        instead = on_one_line(found.get("sentence", "steps"))
        return f"the baseline refuses this ({on_one_line(expected['sentence'])}), the candidate: {instead}"
    if "raised" not in expected and _normal(found["returned"]) != _normal(expected["returned"]):
        return (
            f"`step` returns, and calls its closure, as {found['returned'][0]}; the baseline {expected['returned'][0]}"
        )
    return ""


def on_one_line(message: str) -> str:
    """A message of somebody else's, fit for a sentence."""
    return " ".join(message.split())


def _normal(returned: Sequence[Sequence[Any]]) -> list[list[Any]]:
    return [["nan" if isinstance(x, float) and math.isnan(x) else x for x in step] for step in returned]
