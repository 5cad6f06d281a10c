"""The same file gives the same suggestions for one slot and for three, with every sampler, through a coordinator."""

import pytest

from service.domain.samplers import SAMPLERS
from service.domain.study import SearchPlan
from service.store.database import Database
from tests.integration.coordinator.support import (
    Slots,
    coordinating,
    row_of,
    submit,
    suggestions_of,
    toy,
    wait_for_end,
)
from tests.integration.store.support import make_study

CASES = {
    "random": {},
    "qmc": {},
    "grid": {"points": 3},
    "tpe": {"n_startup_trials": 3},
    "gp": {"n_startup_trials": 3},
    "cmaes": {"popsize": 4},
    "optuna.samplers:NSGAIISampler": {"population_size": 4},
}


def suggested(make_database, sampler, n_slots):
    with make_database() as url:
        database = Database(url, application_name="tangent-tests")
        try:
            plan = SearchPlan(sampler, trials=9, options=CASES[sampler])
            study_id = submit(database, make_study(("AdamW", "SGD"), search=plan, select_top=1, select_seeds=1))
            with coordinating(url), Slots(database, n_slots, toy):
                assert wait_for_end(database, study_id).state == "FINISHED"
            assert row_of(database, study_id).environment["search"]["sampler"] == sampler
            return suggestions_of(database, study_id)
        finally:
            database.close()


def test_every_sampler_is_among_the_cases():
    assert set(CASES) > set(SAMPLERS)


@pytest.mark.parametrize("sampler", CASES)
def test_suggestions_do_not_depend_on_the_number_of_slots(fresh_database, sampler):
    assert suggested(fresh_database, sampler, 1) == suggested(fresh_database, sampler, 3)
