"""What people change while a coordinator has the study in its memory."""

import threading
from contextlib import contextmanager
from datetime import timedelta

import pytest
import redis as redis_client
from sqlalchemy import text

from service import control
from service.domain.study import Limits, SearchPlan, Sequential
from service.domain.trial import Outcome, Phase
from service.errors import ConflictError
from service.reports import build
from service.store import studies
from service.store.control import OutdatedError, active_studies
from service.store.database import step
from service.store.leases import finish_trial
from service.study_work import StudyWork
from tests.integration.coordinator.support import (
    Slots,
    assert_whole,
    coordinating,
    finish_with,
    records_of,
    row_of,
    submit,
    toy,
    wait_for,
    wait_for_end,
)
from tests.integration.coordinator.test_sequential import with_effect
from tests.integration.store.support import (
    assert_consistent,
    claim_one,
    in_threads,
    make_study,
    own_database,
    register,
)

ARMS = ("AdamW", "SGD")
PAIR = (("arm0", "arm1"),)
FAR = timedelta(seconds=600)


@pytest.fixture
def pool(database_url):
    with own_database(database_url, pool_size=12) as database:
        yield database


def act(ledger, function, *arguments, **options):
    with ledger.transaction() as connection:
        return function(connection, *arguments, **options)


def finish(ledger, claimed, ending=None):
    with ledger.transaction() as connection:
        assert finish_trial(connection, claimed.trial_id, claimed.attempt, ending or toy(claimed))


@contextmanager
def in_memory(ledger, study_id):
    """A coordinator's work on a study, and a function that advances it in a transaction."""
    with ledger.session() as session:
        with step(session):
            work = StudyWork.load(session, study_id)

        def advance():
            with step(session):
                return work.advance(session)

        yield work, advance


def test_live_coordinator_takes_the_retry_of_a_failed_study_up(ledger, database_url, pool):
    study = make_study(ARMS, search=SearchPlan(trials=6), limits=Limits(failures=0))
    with coordinating(database_url):
        with Slots(pool, 2, finish_with([Outcome.WORKLOAD_ERROR])):
            study_id = submit(ledger, study)
            assert wait_for_end(ledger, study_id).state == "FAILED"
            wait_for(lambda: row_of(ledger, study_id).counts["n_running"] == 0)
        act(ledger, control.retry, study_id)
        with Slots(pool, 2):
            assert wait_for_end(ledger, study_id).state == "FINISHED"
    assert_whole(ledger, study_id)


def test_live_coordinator_waits_for_a_select_run_that_is_retried_in_the_middle(ledger, database_url):
    """It has seen the failure; it must not choose the winner without the run that waits again."""
    study_id = submit(ledger, make_study(search=SearchPlan(trials=2), select_top=2, select_seeds=1))
    with coordinating(database_url):
        for _ in range(2):
            finish(ledger, wait_for(lambda: claimable(ledger, study_id) and claim_one(ledger)))
        wait_for(lambda: claimable(ledger, study_id) == 2)
        failed, other = claim_one(ledger), claim_one(ledger)
        finish(ledger, failed, finish_with([Outcome.WORKLOAD_ERROR])(failed))
        wait_for(lambda: is_told(ledger, failed))
        assert act(ledger, control.retry, study_id, failed.number) == [failed.number]
        finish(ledger, other)
        wait_for(lambda: is_told(ledger, other))
        again = claim_one(ledger)
        assert (again.number, again.attempt) == (failed.number, 2)
        assert phases(ledger, study_id) == {Phase.SEARCH, Phase.SELECT}
        finish(ledger, again)
        wait_for(lambda: Phase.CONFIRM in phases(ledger, study_id))
    assert_consistent(ledger)


def claimable(ledger, study_id):
    return row_of(ledger, study_id).counts["n_waiting"]


def is_told(ledger, claimed):
    with ledger.transaction() as connection:
        statement = text("SELECT is_told FROM trials WHERE id = :id")
        return connection.execute(statement, {"id": claimed.trial_id}).scalar_one()


def phases(ledger, study_id):
    return {record.phase for record in records_of(ledger, study_id)}


def test_live_coordinator_runs_replicates_that_are_added_to_a_running_and_to_a_finished_study(
    ledger, database_url, pool
):
    study_id = submit(ledger, make_study(ARMS, replicates=2, search=SearchPlan("tpe", trials=4)))
    with coordinating(database_url), Slots(pool, 2):
        wait_for(lambda: row_of(ledger, study_id).counts["n_complete"] >= 3)
        assert act(ledger, control.add_replicates, study_id, 1) == 1
        assert wait_for_end(ledger, study_id).state == "FINISHED"
        assert_whole(ledger, study_id)
        assert act(ledger, control.add_replicates, study_id, 1) == 2
        assert wait_for_end(ledger, study_id).state == "FINISHED"
    assert_whole(ledger, study_id)
    row = row_of(ledger, study_id)
    assert (row.study.replicates, row.registered_replicates) == (4, 2)
    with ledger.transaction() as connection:
        cells = connection.execute(text("SELECT replicate, amendment FROM cells ORDER BY 1")).all()
    assert sorted(set(cells)) == [(0, 0), (1, 0), (2, 1), (3, 2)]


def test_sequential_study_refuses_replicates_while_it_adds_its_own_and_takes_them_after_its_end(
    ledger, database_url, pool
):
    """Its looks are over then: the rule that stopped it was set for the replicates of the file."""
    plan = {"replicates": 7, "sequential": Sequential(3, 2), "search": SearchPlan(trials=2), "compare": PAIR}
    study_id = submit(ledger, make_study(ARMS, **plan))
    with pytest.raises(ConflictError, match="is sequential and adds replicates by its own rule; wait for its end"):
        act(ledger, control.add_replicates, study_id, 1)
    with coordinating(database_url), Slots(pool, 4, with_effect(-0.5)):
        assert wait_for_end(ledger, study_id).reason == "decided after 3 of 7 replicates"
        act(ledger, control.add_replicates, study_id, 1)
        row = wait_for_end(ledger, study_id)
    assert (row.state, row.reason, row.study.replicates, len(row.looks)) == ("FINISHED", None, 4, 1)
    assert_whole(ledger, study_id)
    with ledger.transaction() as connection:
        assert build(connection, study_id)["comparisons"][0]["effect"]["n"] == 4


def test_added_replicates_are_what_the_file_would_have_had(ledger, database_url, pool):
    """Seeds follow from places, so that an extended study has the very numbers of a larger one."""
    small, large = (submit(ledger, make_study(ARMS, replicates=n)) for n in (1, 2))
    with coordinating(database_url), Slots(pool, 2):
        wait_for_end(ledger, small)
        act(ledger, control.add_replicates, small, 1)
        wait_for_end(ledger, small)
        wait_for_end(ledger, large)
    results = [
        {(r.arm, r.replicate, r.cell_number): (dict(r.params), r.seed, r.value) for r in records_of(ledger, study)}
        for study in (small, large)
    ]
    assert results[0] == results[1]


def test_plan_made_from_memory_is_not_written_after_a_retry(ledger):
    study_id = submit(ledger, make_study(search=SearchPlan(trials=2), select_top=2, select_seeds=1))
    with in_memory(ledger, study_id) as (_, advance):
        advance()
        for _ in range(2):
            finish(ledger, claim_one(ledger))
        advance()
        failed, other = claim_one(ledger), claim_one(ledger)
        finish(ledger, failed, finish_with([Outcome.WORKLOAD_ERROR])(failed))
        advance()
        finish(ledger, other)
        act(ledger, control.retry, study_id, failed.number)
        with pytest.raises(OutdatedError, match=f"study {study_id} was changed after revision"):
            advance()
    assert phases(ledger, study_id) == {Phase.SEARCH, Phase.SELECT}
    assert not is_told(ledger, other), "what was not planned with was not told"
    assert_consistent(ledger)


def test_study_is_not_ended_from_memory_after_replicates_were_added(ledger, database_url, pool):
    """The act comes between the coordinator's last plan and the end of the study."""
    study_id = submit(ledger, make_study(replicates=1))
    original, added = studies.end_study, threading.Event()

    def late(connection, ending, state, reason=None):
        if not added.is_set():
            added.set()
            act(ledger, control.add_replicates, study_id, 1)
        return original(connection, ending, state, reason)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("service.coordinator.studies.end_study", late)
        with coordinating(database_url), Slots(pool, 2):
            assert wait_for_end(ledger, study_id).state == "FINISHED"
    assert added.is_set()
    assert row_of(ledger, study_id).study.replicates == 2
    assert_whole(ledger, study_id)


def test_only_what_came_after_the_known_revision_makes_a_study_outdated(ledger):
    study_id, other = submit(ledger, make_study()), submit(ledger, make_study())
    before = row_of(ledger, study_id).revision
    act(ledger, control.add_replicates, study_id, 1)
    now = row_of(ledger, study_id).revision
    for known, is_outdated in (({study_id: before, other: before}, True), ({study_id: now}, False), ({}, False)):
        found = {entry.id: entry for entry in act(ledger, active_studies, known)}
        assert (found[study_id].is_outdated, found[study_id].revision) == (is_outdated, now)
        assert not found[other].is_outdated


def test_settings_and_pauses_do_not_make_the_memory_outdated(ledger):
    study_id = submit(ledger, make_study())
    with in_memory(ledger, study_id) as (work, advance):
        act(ledger, control.change_settings, study_id, {"priority": 3})
        act(ledger, control.pause, study_id)
        act(ledger, control.resume, study_id)
        assert advance() == 4
        assert not act(ledger, active_studies, {study_id: work.revision})[0].is_outdated


def test_resumed_study_is_announced_at_once(ledger, database_url, redis):
    """With a sweep that never comes, only the coordinator's answer to the resume can hint."""
    register(ledger)
    with redis_client.Redis.from_url(redis.url) as broker, coordinating(database_url, redis.url, poll=FAR, sweep=FAR):
        study_id = submit(ledger, make_study())
        wait_for(lambda: broker.llen("cpu"))
        act(ledger, control.pause, study_id)
        broker.delete("cpu")
        act(ledger, control.resume, study_id)
        assert wait_for(lambda: broker.llen("cpu")) == 2
        broker.delete("cpu")


def test_retries_at_once_revive_a_trial_once(ledger, database_url, pool):
    study = make_study(search=SearchPlan(trials=4), limits=Limits(failures=0))
    with coordinating(database_url), Slots(pool, 1, finish_with([Outcome.WORKLOAD_ERROR])):
        study_id = submit(ledger, study)
        assert wait_for_end(ledger, study_id).state == "FAILED"
    answers = []

    def retry(_):
        try:
            answers.append(len(act(pool, control.retry, study_id)))
        except ConflictError as error:
            answers.append(str(error))

    in_threads(4, retry)
    refused = [answer for answer in answers if answer == f"study {study_id} has no failed trial"]
    assert (len(answers), len(refused)) == (4, 3)
    assert_consistent(ledger)
