"""A training that the ledger has is taken from there, marked, and now and then run again to compare the bits."""

from uuid import uuid4

import pytest
from sqlalchemy import text

from service.domain.catalog import BUILT_IN
from service.domain.study import Arm, SearchPlan, Study
from service.store.leases import Capabilities, claim_next_trial
from service.store.reuse import reuse_of
from service.store.studies import get_study, insert_study
from tests.integration.coordinator.support import coordinating
from tests.integration.workers.conftest import LONG
from tests.integration.workers.support import add_study, trial_of, wait_until
from workers.attempt import execute

SAME = ("outcome", "value", "test_value", "metrics", "n_steps", "duration_s", "cpu_s", "content_key")


@pytest.fixture
def run(ledger, place):
    """Claim and execute the next trial in an environment, and show it."""
    capabilities = Capabilities(("cpu",), tuple(BUILT_IN.workloads), tuple(BUILT_IN.optimizers), "revision")

    def one(environment="env"):
        with ledger.transaction() as connection:
            connection.execute(
                text("INSERT INTO environments (id, data) VALUES (:id, '{}') ON CONFLICT DO NOTHING"),
                {"id": environment},
            )
            claim = claim_next_trial(
                connection, "cpu", capabilities, worker_id=uuid4(), slot=0, environment_id=environment, lease=LONG
            )
        assert execute(claim, place)
        return trial_of(ledger, claim.study_id, claim.number)

    return one


@pytest.fixture
def never_again(monkeypatch):
    monkeypatch.setattr("workers.reuse.REVALIDATED_SHARE", 0.0)


def epochs(trial):
    return [(m["epoch"], m["step"], m["value"], m["metrics"], m["layers"]) for m in trial["measurements"]]


def run_new(ledger, run, **changes):
    add_study(ledger, **{"reuse": True, **changes})
    return run()


def test_an_identical_training_is_taken_with_its_measurements_and_marked(ledger, run, never_again):
    first = run_new(ledger, run)
    second = run_new(ledger, run)
    assert {name: second[name] for name in SAME} == {name: first[name] for name in SAME}
    assert epochs(second) == epochs(first)
    assert len(epochs(second)) == 2
    assert (second["source_number"], second["reason"].startswith("taken from study")) == (0, True)
    assert first["source_study"] is None
    third = run_new(ledger, run)
    assert third["source_study"] == second["source_study"]  # not from the one that was itself taken


def test_nothing_is_taken_where_the_study_does_not_allow_it(ledger, run, never_again):
    run_new(ledger, run)
    assert run_new(ledger, run, reuse=False)["source_study"] is None


@pytest.mark.parametrize("other", [{"seed": 8}, {"options": {"epochs": 2}}, {"phase": "confirm"}])
def test_another_training_is_run(ledger, run, never_again, other):
    run_new(ledger, run)
    assert run_new(ledger, run, **other)["source_study"] is None


def test_a_training_of_another_environment_is_run(ledger, run, never_again):
    run_new(ledger, run)
    add_study(ledger, reuse=True)
    assert run("another")["source_study"] is None


def test_a_share_is_run_again_and_found_equal_to_the_last_bit(ledger, run, monkeypatch):
    run_new(ledger, run)
    monkeypatch.setattr("workers.reuse.REVALIDATED_SHARE", 1.0)
    again = run_new(ledger, run)
    assert (again["source_study"], again["revalidation"]) == (None, "equal")


def test_what_differs_is_said_and_never_taken_again(ledger, run, monkeypatch):
    run_new(ledger, run)
    with ledger.transaction() as connection:
        connection.execute(text("UPDATE trials SET value = value * (1 + 1e-15)"))
    monkeypatch.setattr("workers.reuse.REVALIDATED_SHARE", 1.0)
    again = run_new(ledger, run)
    assert again["revalidation"] == "different"
    monkeypatch.setattr("workers.reuse.REVALIDATED_SHARE", 0.0)
    later = run_new(ledger, run)
    assert later["source_study"] is None
    with ledger.transaction() as connection:
        n_different = connection.execute(text("SELECT count(*) FROM trials WHERE revalidation = 'different'")).scalar()
    assert n_different == 2


def test_a_second_study_says_what_it_saved(ledger, run, never_again):
    first = run_new(ledger, run)
    study_id = add_study(ledger, reuse=True)
    run()
    with ledger.transaction() as connection:
        found = reuse_of(connection, study_id)
    assert (found["n_reused"], found["n_equal"], found["n_different"]) == (1, 0, 0)
    assert found["saved_s"] == first["duration_s"]
    assert len(found["studies"]) == 1


def test_a_second_study_with_the_same_baseline_arm_runs_about_half(ledger, database_url, redis, start_worker):
    start_worker(TANGENT_SLOTS="2").wait_for_line("serving cpu with 2 slots")

    def finished(challenger):
        names = ("AdamW", challenger)
        arms = tuple(Arm(name.lower(), name, BUILT_IN.optimizers[name].default_space) for name in names)
        plan = {"search": SearchPlan(trials=4), "select_top": 2, "select_seeds": 1, "confirm_seeds": 2, "reuse": True}
        study = Study("s", "digits-mlp", arms, (), options={"epochs": 1}, replicates=2, **plan)
        with ledger.transaction() as connection:
            study_id = insert_study(connection, study, {})

        def has_ended():
            with ledger.transaction() as connection:
                return get_study(connection, study_id).state == "FINISHED"

        wait_until(has_ended, patience_s=90)
        with ledger.transaction() as connection:
            return reuse_of(connection, study_id), study.n_runs

    with coordinating(database_url, redis.url):
        first, _ = finished("AdamP")
        second, n_runs = finished("Adam")
    assert first["n_reused"] == 0
    assert second["n_reused"] + second["n_equal"] == n_runs / 2
    assert second["n_different"] == 0
