"""An Optuna study as an imported one of Tangent's; what cannot be carried over is said.

Every trial keeps its number. What Optuna left RUNNING or WAITING becomes a failed trial that says so.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from service.domain.catalog import Catalog, Hyperparameter, Optimizer, Workload
from service.domain.imported import ENDPOINTS, FOR_MAXIMISED, ImportedStudy, ImportedTrial, endpoint_of
from service.domain.plain import to_plain
from service.domain.problem import unknown
from service.domain.space import Dimension, Space, Value
from service.domain.study import Arm, SearchPlan, Study
from service.domain.trial import Outcome
from service.errors import InvalidInputError
from service.optuna_space import space_of

MAX_TRIALS = 100_000
_MAX_STEP = 2**31 - 1
_IMPORTED = "imported"
_MARK = " (imported, not preregistered)"
"""Ends the study's name, so that no list, report, export or suite shows it without."""
_UNFINISHED = (TrialState.RUNNING, TrialState.WAITING)


@dataclass(frozen=True)
class Wishes:
    """What the person who imports says.

    Attributes:
        name: Of the Tangent study, before the mark that ends it; None takes Optuna's.
        workload: A workload of the catalog whose endpoint the values are; None makes an entry of its own.
        optimizer: An optimizer of the catalog that the parameters belong to; None makes an entry of its own.
        endpoint: A key of ENDPOINTS; None takes positive values to be minimised as they are.
        floor: Smallest endpoint, for a perfect score; 0 refuses one.
    """

    name: str | None = None
    workload: str | None = None
    optimizer: str | None = None
    endpoint: str | None = None
    floor: float = 0.0


def translate(study: optuna.Study, wishes: Wishes, catalog: Catalog, source: str) -> ImportedStudy:
    """What an Optuna study is to Tangent.

    Args:
        source: Where it was read from, without secrets.

    Raises:
        InvalidInputError: It has several objectives, no trial, values that are no endpoints, or a name is unknown.
    """
    _check(study, wishes, catalog)
    trials = study.get_trials(deepcopy=False)
    _check_count(trials)
    rule = wishes.endpoint or "value"
    space, notes = space_of(trials)
    imported = tuple(_trial(trial, rule, wishes.floor) for trial in trials)
    notes += _notes(trials, imported, wishes)
    workload = _workload(wishes, catalog, study.study_name, imported)
    optimizer = _optimizer(wishes, catalog, space, notes)
    return ImportedStudy(
        study=_specification(study, wishes, space, imported, workload, optimizer),
        catalog={
            "optimizers": {optimizer.name: optimizer.to_dict()},
            "workloads": {workload.name: workload.to_dict()},
        },
        source={
            "from": source,
            "study": study.study_name,
            "direction": study.direction.name.lower(),
            "endpoint": rule,
            "floor": wishes.floor,
            "optuna": optuna.__version__,
            "user_attrs": to_plain(study.user_attrs),
            "is_preregistered": False,
        },
        trials=imported,
        notes=tuple(notes),
    )


def _check(study: optuna.Study, wishes: Wishes, catalog: Catalog) -> None:
    directions = study.directions
    if len(directions) != 1:
        rule = "a Tangent study has one endpoint"
        raise InvalidInputError(f"'{study.study_name}' has {len(directions)} objectives; {rule}, so it stays in Optuna")
    is_maximised = directions[0] is StudyDirection.MAXIMIZE
    if wishes.endpoint is not None and wishes.endpoint not in ENDPOINTS:
        raise InvalidInputError(unknown("endpoint rule", wishes.endpoint, ENDPOINTS))
    if is_maximised != ((wishes.endpoint or "value") in FOR_MAXIMISED):
        fitting = [name for name in ENDPOINTS if (name in FOR_MAXIMISED) == is_maximised]
        how = "maximised" if is_maximised else "minimised"
        raise InvalidInputError(
            f"'{study.study_name}' is {how}, and an endpoint is positive and lower is better; say which it is with "
            f"--endpoint {' or --endpoint '.join(repr(name) for name in fitting)}"
        )
    for what, name, known in (
        ("workload", wishes.workload, catalog.workloads),
        ("optimizer", wishes.optimizer, catalog.optimizers),
    ):
        if name is not None and name not in known:
            raise InvalidInputError(unknown(what, name, known))


def _check_count(trials: Sequence[FrozenTrial]) -> None:
    if not any(trial.state is TrialState.COMPLETE for trial in trials):
        raise InvalidInputError(f"none of its {len(trials)} trials is COMPLETE: there is nothing to import")
    if len(trials) > MAX_TRIALS:
        raise InvalidInputError(f"it has {len(trials):,} trials; a search of Tangent's has at most {MAX_TRIALS:,}")


def _trial(trial: FrozenTrial, rule: str, floor: float) -> ImportedTrial:
    values = trial.values if trial.state in (TrialState.COMPLETE, TrialState.PRUNED) else None
    value = _endpoint(trial, values[0], rule, floor) if values else None
    if trial.state is TrialState.PRUNED:
        outcome = Outcome.PRUNED
    elif trial.state is TrialState.COMPLETE:
        outcome = Outcome.FINISHED if value is not None else Outcome.DIVERGED
    else:
        outcome = Outcome.WORKLOAD_ERROR if trial.state is TrialState.FAIL else Outcome.LOST
    return ImportedTrial(
        number=trial.number,
        params={name: _plain(value) for name, value in trial.params.items()},
        outcome=outcome,
        value=value,
        rungs=_rungs(trial, rule, floor),
        metrics={name: float(v) for name, v in trial.user_attrs.items() if _is_number(v)},
        reason=_reason(trial),
        note=_note(trial),
        started_at=_aware(trial.datetime_start),
        finished_at=_aware(trial.datetime_complete),
    )


def _endpoint(trial: FrozenTrial, value: float, rule: str, floor: float) -> float | None:
    try:
        return endpoint_of(value, rule, floor)
    except ValueError as error:
        way_out = "choose another --endpoint, or give the smallest possible one with --floor"
        raise InvalidInputError(f"trial {trial.number}: {error}; {way_out}") from error


def _rungs(trial: FrozenTrial, rule: str, floor: float) -> dict[int, float | None]:
    found: dict[int, float | None] = {}
    for step, value in sorted(trial.intermediate_values.items()):
        if -_MAX_STEP <= step <= _MAX_STEP:
            try:
                found[step] = endpoint_of(value, rule, floor)
            except ValueError:
                found[step] = None
    return found


def _reason(trial: FrozenTrial) -> str | None:
    if trial.state in _UNFINISHED:
        return f"was {trial.state.name} in Optuna when it was imported"
    return "FAIL in Optuna" if trial.state is TrialState.FAIL else None


def _note(trial: FrozenTrial) -> str:
    """All attributes of the trial and what Optuna had as its value, as JSON."""
    kept = {"values": trial.values, "user_attrs": trial.user_attrs, "system_attrs": trial.system_attrs}
    return json.dumps({"optuna": to_plain(kept)}, default=str)


def _notes(trials: Sequence[FrozenTrial], imported: Iterable[ImportedTrial], wishes: Wishes) -> list[str]:
    outcomes = Counter(trial.outcome for trial in imported)
    unfinished = [str(trial.number) for trial in trials if trial.state in _UNFINISHED]
    long_steps = sum(abs(step) > _MAX_STEP for trial in trials for step in trial.intermediate_values)
    not_numbers = sum(v is None for trial in imported for v in trial.rungs.values())
    texts = sum(not _is_number(value) for trial in trials for value in trial.user_attrs.values())
    found = [
        (outcomes[Outcome.DIVERGED], "COMPLETE without a finite endpoint, kept as diverged"),
        (len(unfinished), f"RUNNING or WAITING in Optuna, kept as failed: {', '.join(unfinished[:20])}"),
        (not_numbers, "intermediate values that are no endpoints, kept as missing"),
        (long_steps, "intermediate values at steps beyond 32 bits, left out"),
        (texts, "user attributes that are no numbers, kept in the trials' logs"),
    ]
    notes = [f"{n} {what}" for n, what in found if n]
    if wishes.workload is None:
        notes.append("no --workload was named: a diverged trial counts as the worst imported endpoint")
    return [*notes, "the seeds of the runs are unknown and stand as 0; the test set and other seeds were not run"]


def _workload(wishes: Wishes, catalog: Catalog, title: str, trials: Sequence[ImportedTrial]) -> Workload:
    if wishes.workload is not None:
        return catalog.workloads[wishes.workload]
    worst = max((trial.value for trial in trials if trial.value is not None), default=1.0)
    return Workload(f"{_IMPORTED}: {title}", title, wishes.endpoint or "value", chance_level=worst)


def _optimizer(wishes: Wishes, catalog: Catalog, space: Space, notes: list[str]) -> Optimizer:
    if wishes.optimizer is None:
        named = tuple(Hyperparameter(name, kind=_kind(entry)) for name, entry in space.items())
        return Optimizer(_IMPORTED, "other", "unknown", False, named, space, "imported:none")
    optimizer = catalog.optimizers[wishes.optimizer]
    strange = sorted(name for name in space if optimizer.hyperparameter(name) is None)
    if strange:
        notes.append(f"{optimizer.name} has no hyperparameter {', '.join(strange)}; kept under the names that they had")
    return optimizer


def _specification(
    study: optuna.Study,
    wishes: Wishes,
    space: Space,
    trials: Sequence[ImportedTrial],
    workload: Workload,
    optimizer: Optimizer,
) -> Study:
    return Study(
        name=(wishes.name or study.study_name)[: 200 - len(_MARK)] + _MARK,
        workload=workload.name,
        arms=(Arm(_IMPORTED, optimizer.name, space),),
        compare=(),
        search=SearchPlan(_IMPORTED, trials=sum(trial.outcome.counts for trial in trials)),
        select_top=1,
        select_seeds=1,
        confirm_seeds=1,
        replicates=1,
    )


def _kind(entry: Dimension | Value) -> str:
    if not isinstance(entry, Dimension):
        return type(entry).__name__ if isinstance(entry, (bool, int, str)) else "float"
    values = entry.choices or ((1,) if entry.scale == "int" else (1.0,))
    return _kind(values[0])


def _plain(value: Any) -> Value:
    return value if isinstance(value, (bool, int, float, str)) else str(value)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _aware(moment: datetime | None) -> datetime | None:
    """Optuna's moments are local and carry no zone."""
    return None if moment is None else moment.astimezone()
