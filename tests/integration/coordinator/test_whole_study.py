"""A study from its submission to its end, with a real coordinator and slots that train a formula."""

import re

import pytest

from service.domain.study import Limits, SearchPlan
from service.domain.trial import Outcome, Phase
from service.store.studies import cells_of, end_study
from tests.integration.coordinator.support import (
    Slots,
    assert_whole,
    coordinating,
    finish_with,
    records_of,
    row_of,
    submit,
    suggestions_of,
    toy,
    wait_for,
    wait_for_end,
)
from tests.integration.store.support import assert_consistent, make_study, own_database

TPE = SearchPlan("tpe", trials=8, options={"n_startup_trials": 3})
RANDOM = SearchPlan(trials=6)
ARMS = ("AdamW", "SGD")


@pytest.fixture
def pool(database_url):
    with own_database(database_url) as database:
        yield database


def run(ledger, database_url, pool, study, n_slots=4, train=toy):
    study_id = submit(ledger, study)
    with coordinating(database_url), Slots(pool, n_slots, train):
        row = wait_for_end(ledger, study_id)
    return study_id, row


@pytest.mark.parametrize("search", [RANDOM, TPE], ids=["random", "tpe"])
def test_study_goes_through_its_phases_to_finished(ledger, database_url, pool, search):
    study_id, row = run(ledger, database_url, pool, make_study(ARMS, replicates=2, search=search))
    assert (row.state, row.reason) == ("FINISHED", None)
    assert_whole(ledger, study_id)
    with ledger.transaction() as connection:
        cells = cells_of(connection, study_id)
    assert {cell.state for cell in cells} == {"finished"}
    for cell in cells:
        confirm = [
            t
            for t in records_of(ledger, study_id)
            if (t.arm, t.replicate, t.phase) == (cell.arm, cell.replicate, Phase.CONFIRM)
        ]
        assert {t.config for t in confirm} == {cell.winner}
    assert row.environment["search"]["sampler"] == search.sampler


@pytest.mark.parametrize("search", [RANDOM, TPE], ids=["random", "tpe"])
def test_same_file_gives_the_same_suggestions_with_one_slot_and_with_four(ledger, database_url, pool, search):
    study = make_study(ARMS, replicates=2, search=search)
    first, _ = run(ledger, database_url, pool, study, n_slots=1)
    second, _ = run(ledger, database_url, pool, study, n_slots=4)
    assert suggestions_of(ledger, first) == suggestions_of(ledger, second)
    assert len(suggestions_of(ledger, first)) == study.n_runs


def test_two_studies_of_one_file_at_once_do_not_disturb_each_other(ledger, database_url, pool):
    study = make_study(ARMS, replicates=2, search=TPE)
    ids = [submit(ledger, study) for _ in range(2)]
    with coordinating(database_url), Slots(pool, 4):
        for study_id in ids:
            wait_for_end(ledger, study_id)
    assert suggestions_of(ledger, ids[0]) == suggestions_of(ledger, ids[1])


def test_failed_search_trials_are_replaced_and_every_arm_still_counts_t(ledger, database_url, pool):
    ends = [Outcome.WORKLOAD_ERROR, Outcome.OUT_OF_MEMORY, Outcome.TIME_LIMIT]
    study_id, row = run(ledger, database_url, pool, make_study(ARMS, search=RANDOM), 2, finish_with(ends))
    assert (row.state, row.counts["n_fail"]) == ("FINISHED", 3)
    assert_whole(ledger, study_id)


def test_failed_cell_fails_its_study_with_the_reason_and_ends_what_waits(ledger, database_url, pool):
    study = make_study(ARMS, replicates=2, search=SearchPlan(trials=20), limits=Limits(failures=2))
    study_id, row = run(ledger, database_url, pool, study, 4, finish_with([Outcome.WORKLOAD_ERROR] * 1000))
    assert row.state == "FAILED"
    assert re.fullmatch(
        r"arm arm\d, replicate \d: \d+ trials of the cell failed; limits.failures is 2", str(row.reason)
    )
    wait_for(lambda: row_of(ledger, study_id).counts["n_running"] == 0)
    assert row_of(ledger, study_id).counts["n_waiting"] == 0
    assert_consistent(ledger)


def test_cancelled_study_stops_at_once_and_adds_no_trial(ledger, database_url, pool):
    study_id = submit(ledger, make_study(ARMS, replicates=3, search=SearchPlan(trials=50)))
    with coordinating(database_url), Slots(pool, 3):
        wait_for(lambda: row_of(ledger, study_id).counts["n_complete"] > 20)
        with ledger.transaction() as connection:
            assert end_study(connection, study_id, "CANCELLED")
        wait_for(lambda: row_of(ledger, study_id).counts["n_running"] == 0)
        n_trials = len(records_of(ledger, study_id))
        second = submit(ledger, make_study())
        wait_for_end(ledger, second)
    assert len(records_of(ledger, study_id)) == n_trials
    assert row_of(ledger, study_id).counts["n_waiting"] == 0
    assert_consistent(ledger)


def test_study_that_cannot_be_loaded_fails_alone(ledger, database_url, pool):
    broken = submit(ledger, make_study(workload="not-there"))
    sound = submit(ledger, make_study())
    with coordinating(database_url), Slots(pool, 1):
        assert wait_for_end(ledger, sound).state == "FINISHED"
    row = row_of(ledger, broken)
    assert row.state == "FAILED"
    assert "not-there" in str(row.reason)


def test_study_whose_search_raises_fails_alone(ledger, database_url, pool):
    options = {"group": True, "multivariate": False, "n_startup_trials": 1}  # refused by Optuna
    broken = submit(ledger, make_study(search=SearchPlan("tpe", trials=3, options=options)))
    sound = submit(ledger, make_study())
    with coordinating(database_url), Slots(pool, 1):
        assert wait_for_end(ledger, sound).state == "FINISHED"
        assert wait_for_end(ledger, broken).state == "FAILED"
    assert "the coordinator could not go on" in str(row_of(ledger, broken).reason)
    assert_consistent(ledger)


def test_two_coordinators_at_once_double_nothing(ledger, database_url, pool):
    study = make_study(ARMS, replicates=2, search=TPE)
    with coordinating(database_url), coordinating(database_url), Slots(pool, 4):
        ids = [submit(ledger, study) for _ in range(4)]
        for study_id in ids:
            wait_for_end(ledger, study_id)
    for study_id in ids:
        assert_whole(ledger, study_id)
        assert suggestions_of(ledger, study_id) == suggestions_of(ledger, ids[0])
