"""A standalone program of at most 15 lines that fails with the candidate on the path and passes with the baseline.

The failing case itself is too large to read: small cases with the same factors are run on both sides until one fails.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from workers.check.diagnosis import Setting, trajectories
from workers.check.judging import Result, Unit, judge_exact, judge_rounded
from workers.check.probe.cases import Case, Shape
from workers.check.program import program

_MOST_PROTOTYPES = 8
_CYCLE = 3  # gradients that are written down; more steps repeat them
_SEEDS = (1, 2, 3)
_SEVERAL: tuple[Shape, ...] = ((2, 2), (2,), (2, 2))


def write_script(setting: Setting, cases: Sequence[Case], goldens: Sequence[Result], units: Sequence[Unit]) -> str:
    """The program; "" where no small case fails, as where only large tensors do.

    Args:
        units: Those of every case; one at least is failing.
    """
    del goldens
    failing = sorted((unit for unit in units if unit.is_failed), key=lambda unit: _difficulty(cases[unit.case], unit))
    tried: set[str] = set()
    for unit in failing:
        case = cases[unit.case]
        kind = f"{case.name} {len(case.shapes[unit.tensor]) > 1}"
        if kind in tried or case.situation in ("large", "odd-shapes"):
            continue
        tried.add(kind)
        if found := _first_that_fails(setting, list(_small_cases(case, unit))):
            return program(setting, *found)
        if len(tried) == _MOST_PROTOTYPES:
            break
    return ""


def _difficulty(case: Case, unit: Unit) -> tuple[Any, ...]:
    """What is read most easily comes first."""
    is_plain = case.situation == "plain"
    n_on = sum(bool(value) for value in case.arguments.values())
    return (
        not is_plain,
        case.steps,
        case.gradient == "mixed",
        case.scale != 1,
        len(case.arguments),
        n_on,
        unit.first_step,
    )


def _small_cases(case: Case, unit: Unit) -> Iterator[Case]:
    """Few steps and few numbers first."""
    shapes = _shapes(case, unit)
    first = unit.first_step or 1
    for n_steps in sorted({first, first + 1, 2, 3, case.steps}):
        for seed in _SEEDS:
            yield dataclasses.replace(case, steps=n_steps, seed=seed, shapes=shapes, start=None, pattern=None)


def _shapes(case: Case, unit: Unit) -> tuple[Shape, ...]:
    if case.situation in ("missing-gradients", "two-groups", "late-group"):
        return _SEVERAL
    if case.situation == "strided":
        return ((2, 2),)
    if case.situation == "channels-last":
        return ((2, 2, 2, 1),)
    return ((2, 2),) if len(case.shapes[unit.tensor]) > 1 else ((2,),)


def _first_that_fails(setting: Setting, cases: Sequence[Case]) -> tuple[Case, Result, Sequence[float]] | None:
    """The first case that fails when written down with short numbers; its golden; each tensor's limit."""
    baseline = setting.baseline
    started = [_with_short_start(case) for case in cases]
    drawn = trajectories(baseline, [dataclasses.replace(c, steps=min(c.steps, _CYCLE)) for c in started], "float64")
    written = [
        _with_short_gradients(case, result)
        for case, result in zip(started, drawn, strict=True)
        if "raised" not in result
    ]
    goldens = trajectories(baseline, written, "float64", overrides=setting.variant)
    if goldens and all("raised" in golden for golden in goldens):  # a baseline without this path
        goldens = trajectories(baseline, written, "float64")
    chosen = [i for i, golden in enumerate(goldens) if "raised" not in golden]
    written, goldens = [written[i] for i in chosen], [goldens[i] for i in chosen]
    for case, golden, units in zip(written, goldens, _judged(setting, written, goldens), strict=True):
        if any(unit.is_failed for unit in units):
            return case, golden, [unit.limit for unit in units]
    return None


def _judged(setting: Setting, cases: Sequence[Case], goldens: Sequence[Result]) -> list[list[Unit]]:
    if not cases:
        return []
    tolerances, dtype = setting.config.tolerances, setting.dtype
    found = trajectories(setting.candidate, cases, dtype, goldens, overrides=setting.variant)
    if dtype == "float64":
        triples = enumerate(zip(cases, goldens, found, strict=True))
        return [judge_exact(i, case, ref, got, tolerances.float64) for i, (case, ref, got) in triples]
    own = trajectories(setting.baseline, cases, dtype, goldens)
    factor, floor = tolerances.float32_factor, tolerances.float32_floor
    quadruples = enumerate(zip(cases, goldens, own, found, strict=True))
    return [judge_rounded(i, case, ref, base, got, factor, floor) for i, (case, ref, base, got) in quadruples]


def _with_short_start(case: Case) -> Case:
    from workers.check.probe.gradients import start_weights

    factor = 2.0**-40 if case.situation == "tiny-weight" else 1.0
    start = [(weight / factor * 64).round() / 64 * factor for weight in start_weights(case)]
    return dataclasses.replace(case, start=[weight.tolist() for weight in start])


def _with_short_gradients(case: Case, drawn: Result) -> Case:
    """The drawn gradients with three digits, which leaves them orthogonal enough."""
    pattern = []
    for step in drawn["gradients"]:
        parts = (part.reshape(shape) for part, shape in zip(step.split(case.sizes), case.shapes, strict=True))
        pattern.append([_short(part.tolist()) for part in parts])
    return dataclasses.replace(case, pattern=pattern)


def _short(values: Any) -> Any:
    return [_short(value) for value in values] if isinstance(values, list) else float(f"{values:.3g}")
