"""What a failure has in common, in words: factors of the grid, and the argument whose change looks like it."""

from __future__ import annotations

import ast
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from workers.check.client import Probe
from workers.check.config import Arguments, CheckConfig
from workers.check.explain import in_words, separate
from workers.check.grid import words
from workers.check.judging import Result, Unit, judge_exact
from workers.check.probe.cases import Case
from workers.check.probe.situations import other_group

CALL_TIMEOUT_S = 600.0
_LIKENESS = 0.95  # least correlation of the logarithms of two patterns of errors
_NOTHING = 1e-11


@dataclass(frozen=True)
class Setting:
    """Both sides and how they were run.

    Attributes:
        variant: Constructor arguments over the configuration's and the case's.
        dtype: Of the weights.
        patterns: Those of the baseline's arguments, by the change, as far as they were asked for; one check's settings
            share them.
    """

    baseline: Probe
    candidate: Probe
    config: CheckConfig
    variant: Arguments
    dtype: str
    patterns: dict[str, torch.Tensor] = field(default_factory=dict)


def trajectories(
    probe: Probe, cases: Sequence[Case], dtype: str, given: Sequence[Result] | None = None, **more: Any
) -> list[dict[str, Any]]:
    """Ask a side for trajectories; see the probe's command."""
    start: list[Result | None] | None = None
    if given is not None:
        # Where the golden refused there is nothing to step on; what the side draws will do to see whether it refuses.
        start = [None if "raised" in ref else {key: ref[key] for key in ("weights", "gradients")} for ref in given]
    documents = [case.to_json() for case in cases]
    answer = probe.call("trajectory", timeout_s=CALL_TIMEOUT_S, cases=documents, dtype=dtype, given=start, **more)
    results: list[dict[str, Any]] = answer["results"]
    return results


def explain_units(setting: Setting, cases: Sequence[Case], goldens: Sequence[Result], units: Sequence[Unit]) -> str:
    """Where it fails, from which step on, and which argument's change looks like it; sentences.

    Args:
        units: Those of every case; one at least is failing.
    """
    units = _of_the_grid(setting.config, cases, units) or units
    factors = [unit_factors(setting.config, cases[unit.case], goldens[unit.case], unit.tensor) for unit in units]
    pairs = list(zip(units, factors, strict=True))
    failing = [found for unit, found in pairs if unit.is_failed]
    passing = [found for unit, found in pairs if not unit.is_failed]
    possible = {name: sorted({found[name] for found in factors}, key=str) for name in factors[0]}
    where = in_words(separate(failing, passing), possible)
    first = min(unit.first_step or 1 for unit in units if unit.is_failed)
    sentences = [f"It fails {where}.", f"The first step that is wrong is step {first}."]
    notes = sorted({unit.note for unit in units if unit.note})
    sentences += [f"In such a case {note}." for note in notes[:2]]
    if setting.dtype == "float64" and not notes and (names := suspects(setting, cases, goldens, units)):
        sentences.append(f"The errors look like those of a change of {' or '.join(names)}.")
    return " ".join(sentences)


def _of_the_grid(config: CheckConfig, cases: Sequence[Case], units: Sequence[Unit]) -> list[Unit]:
    """The units of the full grid if one of them fails: what is special elsewhere would hide the rule."""
    names = set(config.dimensions)
    chosen = [u for u in units if cases[u.case].situation == "plain" and set(cases[u.case].arguments) <= names]
    return chosen if any(unit.is_failed for unit in chosen) else []


def unit_factors(config: CheckConfig, case: Case, golden: Result, tensor: int) -> dict[str, Any]:
    """What is true of one tensor of one case; the first factors are the first to be blamed."""
    arguments = other_group(case.arguments) if case.situation == "two-groups" and tensor % 2 else case.arguments
    further = {name: value for name, value in case.arguments.items() if name not in config.dimensions}
    views = set(golden["views"][:, tensor].tolist()) if "views" in golden else set()
    return {
        "projected": bool(views & {1, 2}),
        "projected per channel": 1 in views,
        "projected as a whole": 2 in views,
        "of the second group": case.situation == "two-groups" and tensor % 2 == 1,
        "is a matrix": len(case.shapes[tensor]) > 1,
        **{name: _plain(arguments.get(name)) for name in config.dimensions},
        "situation": case.situation,
        "number of steps": case.steps,
        "gradient": case.gradient,
        "scale": case.scale,
        "further arguments": words(further) or "none",
    }


def suspects(setting: Setting, cases: Sequence[Case], goldens: Sequence[Result], units: Sequence[Unit]) -> list[str]:
    """Arguments of the baseline whose change gives errors in the pattern of the candidate's.

    The pattern is the logarithm of the error over the tensors of the grid's cases; likeness is correlation.
    """
    grid = sorted({u.case for u in units if cases[u.case].situation == "plain" and "raised" not in goldens[u.case]})
    mine = _pattern([unit.error for unit in units if unit.case in set(grid)])
    likeness: dict[str, float] = {}
    for name, override in _changes(setting).items():
        key = repr((grid, override))
        if key not in setting.patterns:
            setting.patterns[key] = _pattern_of(setting, override, [cases[i] for i in grid], [goldens[i] for i in grid])
        likeness[name] = _correlation(mine, setting.patterns[key])
    best = max(likeness.values(), default=0.0)
    return sorted(name for name, value in likeness.items() if value >= max(_LIKENESS, best - 0.01))


def _pattern_of(
    setting: Setting, override: Arguments, cases: Sequence[Case], goldens: Sequence[Result]
) -> torch.Tensor:
    found = trajectories(setting.baseline, cases, "float64", goldens, overrides=override)
    triples = enumerate(zip(cases, goldens, found, strict=True))
    return _pattern([u.error for i, (c, ref, got) in triples for u in judge_exact(i, c, ref, got, _NOTHING)])


def _changes(setting: Setting) -> dict[str, dict[str, Any]]:
    """Overrides that change one number each."""
    given: dict[str, Any] = {}
    for name, default in setting.baseline.description["signature"].items():
        try:
            given[name] = ast.literal_eval(default)
        except (ValueError, SyntaxError):
            continue
    given.update({**setting.config.arguments, **setting.variant})
    changes: dict[str, dict[str, Any]] = {}
    for name, value in given.items():
        if name in setting.config.dimensions:
            continue
        if _is_number(value):
            changes[name] = {name: _other(value)}
        elif isinstance(value, (tuple, list)) and all(map(_is_number, value)):
            for i, entry in enumerate(value):
                changes[f"{name}[{i}]"] = {name: [*value[:i], _other(entry), *value[i + 1 :]]}
    return changes


def _is_number(value: Any) -> bool:
    return isinstance(value, float) and value > 0


def _other(value: float) -> float:
    """Half as large; of a share near 1, half as far from 1."""
    return (1 + value) / 2 if 0.5 <= value < 1 else value / 2


def _pattern(errors: Sequence[float]) -> torch.Tensor:
    return torch.tensor(errors, dtype=torch.float64).clamp_min(_NOTHING).log10()


def _correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    if a.std() == 0 or b.std() == 0:
        return 0.0
    value = float(torch.corrcoef(torch.stack([a, b]))[0, 1])
    return value if math.isfinite(value) else 0.0


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, (list, tuple)) else value
