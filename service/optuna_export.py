"""A study's search trials as an Optuna storage, so that `optuna.load_study` and Optuna's plots open them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import TrialState, create_trial

from service.domain.study import Study
from service.errors import TangentError
from service.search import distribution_of


def write_optuna_storage(export: Mapping[str, Any], path: Path) -> list[str]:
    """Write an SQLite file with one Optuna study for each arm and replicate.

    Values are validation endpoints, to be minimised; a diverged run has the chance level, a failed one none. Select and
    confirm runs repeat configurations and are left out.

    Args:
        export: The service's JSON export of one study.
        path: A file that does not exist yet.

    Returns:
        The names of the Optuna studies, "NAME/ARM/rREPLICATE".

    Raises:
        TangentError: The file exists.
    """
    if path.exists():
        raise TangentError(f"{path} exists; an export writes a new file")
    study = Study.from_dict(export["study"]["spec"])
    draft = path.with_name(f"{path.name}.part")
    draft.unlink(missing_ok=True)
    try:
        names = _write(export, study, draft)
        draft.rename(path)
    finally:
        draft.unlink(missing_ok=True)
    return names


def _write(export: Mapping[str, Any], study: Study, path: Path) -> list[str]:
    storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
    names = []
    for arm in study.arms:
        distributions = {name: distribution_of(entry) for name, entry in arm.dimensions.items()}
        for replicate in range(study.replicates):
            name = f"{study.name}/{arm.name}/r{replicate}"
            target = optuna.create_study(study_name=name, storage=storage, direction="minimize")
            target.set_user_attr("spec_hash", export["study"]["spec_hash"])
            trials = _search_trials(export, arm.name, replicate)
            target.add_trials([_optuna_trial(t, distributions, export["workload"]["chance_level"]) for t in trials])
            names.append(name)
    storage.remove_session()
    storage.engine.dispose()
    return names


def _search_trials(export: Mapping[str, Any], arm: str, replicate: int) -> list[Mapping[str, Any]]:
    wanted = [
        t
        for t in export["trials"]
        if (t["arm"], t["replicate"], t["phase"]) == (arm, replicate, "search") and t["outcome"] is not None
    ]
    return sorted(wanted, key=lambda t: int(t["cell_number"]))


def _optuna_trial(
    trial: Mapping[str, Any], distributions: Mapping[str, BaseDistribution], chance_level: float
) -> optuna.trial.FrozenTrial:
    state = TrialState[trial["state"]]
    is_chance = state is TrialState.COMPLETE and trial["value"] is None
    value = chance_level if is_chance else trial["value"]
    attributes = {"number": trial["number"], "seed": str(trial["seed"]), "outcome": trial["outcome"]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return create_trial(
            state=state,
            values=None if state is TrialState.FAIL or value is None else [value],
            params={name: trial["params"][name] for name in distributions},
            distributions=dict(distributions),
            user_attrs=attributes,
        )
