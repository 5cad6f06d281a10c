"""Studies with trials, put into the ledger without a coordinator."""

from collections.abc import Mapping
from typing import Any

from service.domain.catalog import BUILT_IN
from service.domain.study import Arm, Limits, SearchPlan, Study
from service.domain.trial import Phase, StudyId
from service.store.database import Database
from service.store.studies import cells_of, insert_study
from service.store.trials import NewTrial, get_trial, insert_trials

PARAMS = {"lr": 0.01, "weight_decay": 0.01, "one_minus_beta1": 0.1}


def add_study(
    ledger: Database,
    *,
    n_trials: int = 1,
    workload: str = "digits-mlp",
    options: Mapping[str, Any] | None = None,
    trial_s: float = 600.0,
    attempts: int = 3,
    phase: Phase = Phase.SEARCH,
    seed: int = 7,
) -> StudyId:
    """A study of one cell with `n_trials` waiting trials; returns its id. Trials are numbered from 0."""
    study = Study(
        name="test",
        workload=workload,
        arms=(Arm("adamw", "AdamW", BUILT_IN.optimizers["AdamW"].default_space),),
        compare=(),
        options={"epochs": 1} if options is None else options,
        search=SearchPlan(trials=n_trials),
        limits=Limits(trial_s=trial_s, attempts=attempts),
        replicates=1,
    )
    with ledger.transaction() as connection:
        study_id = insert_study(connection, study, {})
        (cell,) = cells_of(connection, study_id)
        rows = [
            NewTrial(
                cell_id=cell.id,
                cell_number=i,
                phase=phase,
                config=i,
                seed_index=0,
                seed=seed + i,
                optimizer="AdamW",
                params=PARAMS,
                sort_key=i,
            )
            for i in range(n_trials)
        ]
        assert insert_trials(connection, study_id, rows) == 0
    return study_id


def trial_of(ledger: Database, study_id: StudyId, number: int = 0) -> dict[str, Any]:
    """A trial with its attempts and measurements."""
    with ledger.transaction() as connection:
        trial = get_trial(connection, study_id, number)
    assert trial is not None
    return trial
