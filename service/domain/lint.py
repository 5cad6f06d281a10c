"""Confounders of a planned or finished comparison: what makes two arms differ in more than the question asked.

Nothing here is an error: a study may be run for a reason that a rule cannot know. Each finding is a sentence that says
what is mixed and what would separate it; validation shows them before the study runs, and the report carries them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from service.domain.catalog import BUILT_IN, Catalog, Optimizer
from service.domain.report_input import ArmInput, arm_inputs
from service.domain.ruling import MIN_REPLICATES
from service.domain.study import Study
from service.domain.wording import count, listing

DECOUPLED_BASELINE = {"AdamP": "AdamW", "SGDP": "SGDW"}
"""The optimizer that differs from a projecting one in nothing but the projection."""

_PROJECTION = ("delta", "wd_ratio")
_MACHINE = ("cpu", "cpu_capability", "cuda_device", "torch", "numpy", "sklearn", "adamp", "python")
_Pairs = Iterable[tuple[str, str]]


def study_warnings(study: Study, catalog: Catalog = BUILT_IN) -> tuple[str, ...]:
    """The findings for a study before it runs."""
    arms = arm_inputs(study, catalog)
    return (*_few_replicates(study), *confounders(arms, study.compare, study.search.pruner))


def confounders(arms: Sequence[ArmInput], compare: _Pairs, pruner: str) -> tuple[str, ...]:
    """All findings about declared arms and pairs, in the order of how much they can change a verdict."""
    named = {arm.name: arm for arm in arms}
    pairs = [(named[first], named[second]) for first, second in compare]
    return (
        *_missing_baselines(arms),
        *(text for first, second in pairs for text in _mixed_decay(first, second)),
        *(text for first, second in pairs for text in _unequal_spaces(first, second)),
        *_missing_twins(arms),
        *(text for arm in arms for text in _dead_dimensions(arm)),
        *_pruning(pruner),
    )


def _few_replicates(study: Study) -> list[str]:
    if study.replicates >= MIN_REPLICATES:
        return []
    planned = count(study.replicates, "replicate")
    return [f"{planned} compare configurations, not optimizers: a verdict takes {MIN_REPLICATES} at least."]


def _missing_baselines(arms: Sequence[ArmInput]) -> list[str]:
    present = {arm.optimizer for arm in arms}
    return [
        f"{optimizer} is compared without {baseline}: {optimizer} decouples weight decay, and only {baseline} among "
        "the arms can tell the projection from the decay."
        for optimizer, baseline in DECOUPLED_BASELINE.items()
        if optimizer in present and baseline not in present
    ]


def _mixed_decay(first: ArmInput, second: ArmInput) -> Iterator[str]:
    pair = (first, second)
    coupled = [arm.name for arm in pair if (entry := _entry(arm)) and entry.decay == "coupled"]
    projecting = [arm.name for arm in pair if (entry := _entry(arm)) and entry.has_projection]
    if coupled and projecting:
        yield (
            f"{second.name} against {first.name} mixes two changes: {projecting[0]} projects, and it decouples the "
            f"weight decay, which {coupled[0]} adds to the gradient."
        )


def _unequal_spaces(first: ArmInput, second: ArmInput) -> Iterator[str]:
    """Shared dimensions with different ranges, where the two optimizers mean the same by them."""
    entries = _entry(first), _entry(second)
    if first.family != second.family or first.family == "other":
        return
    means_the_same_decay = entries[0] is not None and entries[1] is not None and entries[0].decay == entries[1].decay
    for name in sorted(first.search.keys() & second.search.keys() - set(_PROJECTION)):
        if name == "weight_decay" and not means_the_same_decay:
            continue
        if first.search[name] != second.search[name]:
            yield (
                f"Unequal spaces: {first.name} has {name} {_shown(first.search[name])}, {second.name} has "
                f"{_shown(second.search[name])}; a difference of the two may come from that."
            )


def _missing_twins(arms: Sequence[ArmInput]) -> list[str]:
    def searches(arm: ArmInput) -> list[str]:
        return [name for name in _PROJECTION if name in arm.dimensions]

    findings = []
    for arm in arms:
        twins = [other for other in arms if other.optimizer == arm.optimizer and not searches(other)]
        if (entry := _entry(arm)) and entry.has_projection and searches(arm) and not twins:
            findings.append(
                f"{arm.name} searches {listing(searches(arm))} out of the same budget, without an arm of "
                f"{arm.optimizer} at the defaults: its result mixes the algorithm with the price of tuning it."
            )
    return findings


def _dead_dimensions(arm: ArmInput) -> Iterator[str]:
    if "wd_ratio" in arm.dimensions and arm.search.get("weight_decay", 0) == 0:
        yield f"wd_ratio is searched in {arm.name} where weight_decay is 0: it has no effect."
    if arm.search.get("delta") == 0 and (entry := _entry(arm)) and entry.has_projection:
        also = " and wd_ratio, which is searched, has no effect" if "wd_ratio" in arm.dimensions else ""
        yield f"delta is 0 in {arm.name}: it never projects{also}."


def _pruning(pruner: str) -> list[str]:
    if pruner == "none":
        return []
    return [
        f"The pruner {pruner} stops search trials early: it favours arms that are quick at first, and the curve of "
        "the expected best is biased, since a stopped trial counts with its value at that step."
    ]


def mixed_environments(environments: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence where the runs of a study were made with different processors or versions."""
    differing = [key for key in _MACHINE if len({str(entry.get(key)) for entry in environments}) > 1]
    if not differing:
        return []
    kinds: Counter[tuple[str, ...]] = Counter()
    for entry in environments:
        kinds[tuple(str(entry.get(key)) for key in differing)] += int(entry.get("n_attempts", 1))
    shown = [f"{', '.join(values)} ({count(n, 'run')})" for values, n in kinds.items()]
    return [f"The runs differ in {listing(differing)}: {listing(shown)}. Equal seeds then give different last bits."]


def _entry(arm: ArmInput) -> Optimizer | None:
    return BUILT_IN.optimizers.get(arm.optimizer)


def _shown(entry: Any) -> str:
    if isinstance(entry, Mapping):
        scale, values = next(iter(entry.items()))
        return f"{scale} [{', '.join(f'{v:g}' if isinstance(v, (int, float)) else str(v) for v in values)}]"
    return f"fixed at {entry}"
