"""A study that is looked at while replicates come in: it stops when decided, and its looks survive a restart."""

import math
import random

from service.domain.study import SearchPlan, Sequential
from service.domain.trial import Outcome, Phase
from service.reports import build
from service.store.leases import Finish
from service.store.studies import cells_of
from tests.integration.coordinator.support import (
    Process,
    Slots,
    assert_whole,
    coordinating,
    records_of,
    row_of,
    submit,
    wait_for,
    wait_for_end,
)
from tests.integration.store.support import make_study, own_database

PLAN = {"replicates": 7, "sequential": Sequential(3, 2), "search": SearchPlan(trials=2), "compare": (("arm0", "arm1"),)}


def with_effect(effect, noise=0.02):
    """Trains to 0.5, times e**effect for SGD, with noise that follows from the seed and the optimizer."""

    def train(claimed):
        deviate = random.Random(f"{claimed.seed} {claimed.optimizer}").gauss(0, noise)
        value = 0.5 * math.exp(deviate + (effect if claimed.optimizer == "SGD" else 0))
        test_value = value if claimed.phase is Phase.CONFIRM else None
        return Finish(Outcome.FINISHED, value=value, test_value=test_value, duration_s=0.01, cpu_s=0.01)

    return train


def study(**changes):
    return make_study(("AdamW", "SGD"), **{**PLAN, **changes})


def run(ledger, database_url, train, **changes):
    study_id = submit(ledger, study(**changes))
    with own_database(database_url) as pool, coordinating(database_url), Slots(pool, 4, train):
        wait_for_end(ledger, study_id)
    return study_id, row_of(ledger, study_id)


def test_a_large_effect_is_decided_at_the_first_look_and_the_other_replicates_never_run(ledger, database_url):
    study_id, row = run(ledger, database_url, with_effect(-0.5))
    assert (row.state, row.reason) == ("FINISHED", "decided after 3 of 7 replicates")
    assert (row.study.replicates, row.registered_replicates, row.spec_hash) == (3, 7, study().spec_hash)
    assert [(look["replicates"], look["is_decided"]) for look in row.looks] == [(3, True)]
    assert row.looks[0]["pairs"][0]["kind"] == "better_by_margin"
    assert {record.replicate for record in records_of(ledger, study_id)} == {0, 1, 2}
    assert_whole(ledger, study_id)


def test_no_effect_in_much_noise_goes_through_every_look(ledger, database_url):
    study_id, row = run(ledger, database_url, with_effect(0.0, noise=0.6))
    assert (row.state, row.reason) == ("FINISHED", "not decided after 7 of 7 replicates")
    assert [look["replicates"] for look in row.looks] == [3, 5, 7]
    assert row.study.replicates == 7
    assert_whole(ledger, study_id)
    with ledger.transaction() as connection:
        assert {cell.replicate for cell in cells_of(connection, study_id)} == set(range(7))


def test_the_report_shows_what_the_look_saw_and_its_interval_holds_over_all_looks(ledger, database_url):
    study_id, row = run(ledger, database_url, with_effect(-0.5))
    with ledger.transaction() as connection:
        report = build(connection, study_id)
    (comparison,) = report["comparisons"]
    (pair,) = row.looks[0]["pairs"]
    assert comparison["effect"]["interval_95"] == pair["interval_95"]
    assert comparison["holm_p"] == pair["holm_p"]
    assert report["looks"] == [3, 5, 7]
    assert "valid over all looks" in comparison["verdict"]["sentence"]
    assert report["spec_hash"] == row.spec_hash


def test_a_coordinator_that_was_killed_goes_on_with_the_looks_that_were_taken(ledger, database_url, tmp_path):
    study_id = submit(ledger, study())
    train = with_effect(0.0, noise=0.6)
    with own_database(database_url) as pool, Slots(pool, 4, train):
        with Process(tmp_path / "first.log", database_url) as first:
            wait_for(lambda: row_of(ledger, study_id).looks)
            first.kill()
        with Process(tmp_path / "second.log", database_url):
            row = wait_for_end(ledger, study_id)
    assert [look["replicates"] for look in row.looks] == [3, 5, 7]
    assert_whole(ledger, study_id)
