"""The search space of an Optuna study, from the distributions that its trials carry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from service.domain.space import Dimension, Scale, Value


def space_of(trials: Sequence[FrozenTrial]) -> tuple[dict[str, Dimension | Value], list[str]]:
    """The space that the finished trials searched, and sentences on what it cannot say.

    A range is the widest that a trial had; a range of one value is a fixed one. Parameters that only some COMPLETE
    trials have (a conditional space), or that changed their kind on the way, are no dimensions; trials keep them.
    """
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    space: dict[str, Dimension | Value] = {}
    notes: list[str] = []
    for name in dict.fromkeys(name for trial in trials for name in trial.distributions):
        found = [trial.distributions[name] for trial in trials if name in trial.distributions]
        n_having = sum(name in trial.distributions for trial in complete)
        if n_having < len(complete):
            notes.append(f"{name}: in {n_having} of {len(complete)} COMPLETE trials only, so no dimension of the space")
            continue
        entry, note = _entry(found)
        if entry is not None:
            space[name] = entry
        if note:
            notes.append(f"{name}: {note}")
    return space, notes


def _entry(found: Sequence[BaseDistribution]) -> tuple[Dimension | Value | None, str | None]:
    first = found[0]
    if any(type(other) is not type(first) for other in found):
        return None, "changed its kind between trials, so no dimension of the space"
    if isinstance(first, CategoricalDistribution):
        return _choice(found)
    return _range(found)


def _choice(found: Sequence[Any]) -> tuple[Dimension | Value | None, str | None]:
    choices = list(dict.fromkeys((type(c).__name__, c) for distribution in found for c in distribution.choices))
    values = tuple(c if isinstance(c, (bool, int, float, str)) else str(c) for _, c in choices)
    note = "choices that are no scalars are kept as text" if values != tuple(c for _, c in choices) else None
    if len(values) == 1:
        return values[0], note
    return Dimension(Scale.CHOICE, choices=values), note


def _range(found: Sequence[Any]) -> tuple[Dimension | Value | None, str | None]:
    low, high = min(d.low for d in found), max(d.high for d in found)
    notes = (
        ["its range changed between trials; the widest is kept"] if len({(d.low, d.high) for d in found}) > 1 else []
    )
    if len({d.log for d in found}) > 1:
        return None, "changed its scale between trials, so no dimension of the space"
    if low == high:
        return low, None
    is_whole = isinstance(found[0], IntDistribution)
    steps = {d.step for d in found} - ({1} if is_whole else {None})
    if steps:
        notes.append(f"its step of {', '.join(map(str, sorted(steps)))} is not kept")
    if is_whole and found[0].log:
        notes.append("its log scale is not kept: whole numbers are uniform in Tangent")
    if isinstance(found[0], FloatDistribution):
        scale = Scale.LOG if found[0].log else Scale.UNIFORM
        return Dimension(scale, float(low), float(high)), "; ".join(notes) or None
    return Dimension(Scale.INT, float(low), float(high)), "; ".join(notes) or None
