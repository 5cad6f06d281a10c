"""Pages, workers and reports, as they are read."""

from datetime import timedelta

from sqlalchemy import text

from service.domain.trial import Phase, TrialState
from service.store import reports, workers
from service.store.database import Database
from service.store.events import events_after
from service.store.leases import finish_trial
from service.store.progress import pace_of, progress_of
from service.store.studies import add_event, list_studies
from service.store.trials import list_trials
from tests.integration.store.support import (
    FINISHED,
    WORKER,
    add_study,
    add_trials,
    claim_one,
    make_study,
    register,
    registration,
)


def pages(fetch, key, start):
    """All rows of a listing, two at a time."""
    rows, position = [], start
    while page := fetch(position):
        rows += page
        position = key(page[-1])
    return rows


def test_trials_are_listed_once_each_in_order_while_more_are_added(ledger):
    study = add_study(ledger, 5)
    with ledger.transaction() as connection:
        first = list_trials(connection, study, limit=2)
        add_trials(connection, study, make_study(), 2, start=5)
        rest = pages(lambda n: list_trials(connection, study, after=n, limit=2), lambda t: t["number"], 1)
    assert [trial["number"] for trial in first + rest] == list(range(7))


def test_trials_are_filtered_by_arm_phase_and_state(ledger):
    study = add_study(ledger, 4, optimizers=("AdamW", "SGD"))
    claimed = claim_one(ledger)
    with ledger.transaction() as connection:
        finish_trial(connection, claimed.trial_id, 1, FINISHED)
        assert [t["number"] for t in list_trials(connection, study, arm="arm1")] == [1, 3]
        assert [t["number"] for t in list_trials(connection, study, state=TrialState.COMPLETE)] == [0]
        assert list_trials(connection, study, phase=Phase.CONFIRM) == []
        assert len(list_trials(connection, study, phase=Phase.SEARCH)) == 4


def test_studies_are_listed_newest_first_once_each(ledger):
    ids = [add_study(ledger, 0) for _ in range(5)]
    with ledger.transaction() as connection:
        found = pages(lambda n: list_studies(connection, before=n, limit=2), lambda row: row.id, None)
        assert [row.id for row in found] == ids[::-1]
        assert list_studies(connection, state="FAILED") == []


def test_events_are_read_in_batches_without_gap(ledger):
    study = add_study(ledger, 0)
    with ledger.transaction() as connection:
        for i in range(5):
            add_event(connection, study, "cell", {"i": i})
        found = pages(lambda r: events_after(connection, study, r, limit=2), lambda e: e["revision"], 0)
    assert [event["revision"] for event in found] == [1, 2, 3, 4, 5, 6]


def test_progress_and_pace_count_what_counts(ledger):
    study = add_study(ledger, 3, optimizers=("AdamW",))
    with ledger.transaction() as connection:
        assert pace_of(connection, study).n_counted == 0
    claimed = claim_one(ledger)
    with ledger.transaction() as connection:
        finish_trial(connection, claimed.trial_id, 1, FINISHED)
        (row,) = progress_of(connection, study)
        assert (row["n_waiting"], row["n_counted"], row["best"]) == (2, 1, 0.5)
        assert pace_of(connection, study).n_recent == 1


def test_report_is_current_until_the_study_changes_and_is_never_replaced_by_an_older_one(ledger):
    study = add_study(ledger, 1)
    with ledger.transaction() as connection:
        old, new = ({"at": revision, "version": 7} for revision in (1, 2))
        assert reports.save_report(connection, study, 1, old)
        assert reports.current_report(connection, study, 7) is None  # trials were added at revision 2
        assert reports.save_report(connection, study, 2, new)
        assert not reports.save_report(connection, study, 1, old)
        assert reports.current_report(connection, study, 7) == new


def test_silent_worker_goes_offline_and_its_heartbeat_brings_it_back(ledger):
    register(ledger, worker_id=WORKER)
    with ledger.transaction() as connection:
        assert workers.sweep_workers(connection, timedelta(seconds=60)) == 0
        connection.execute(text("UPDATE workers SET heartbeat_at = now() - interval '2 min'"))
        assert workers.sweep_workers(connection, timedelta(seconds=60)) == 1
        assert workers.list_workers(connection, only_online=True) == []
        assert workers.queue_depths(connection) == []
        assert workers.heartbeat(connection, WORKER) == "online"
        (worker,) = workers.list_workers(connection, only_online=True)
    assert worker["stopped_at"] is None


def test_worker_that_registers_again_is_what_it_says_now(ledger):
    register(ledger, worker_id=WORKER, n_slots=2)
    with ledger.transaction() as connection:
        workers.sign_off(connection, WORKER)
    register(ledger, worker_id=WORKER, n_slots=5, environment={"python": "4"})
    with ledger.transaction() as connection:
        (worker,) = workers.list_workers(connection, only_online=True)
    assert (worker["n_slots"], worker["stopped_at"], worker["environment"]) == (5, None, {"python": "4"})


def test_heartbeat_of_an_unknown_worker_says_so(ledger):
    with ledger.transaction() as connection:
        assert workers.heartbeat(connection, registration().worker_id) is None


def test_queue_depth_counts_waiting_running_and_slots(ledger):
    register(ledger, n_slots=3, queues=("cpu", "reports"))
    add_study(ledger, 4)
    add_study(ledger, 9, columns={"state": "PAUSED"})
    claim_one(ledger)
    with ledger.transaction() as connection:
        depths = {depth.queue: depth for depth in workers.queue_depths(connection)}
    assert (depths["cpu"].n_claimable, depths["cpu"].n_running, depths["cpu"].n_slots) == (3, 1, 3)
    assert depths["reports"].n_slots == 3


def test_every_notification_of_a_burst_arrives(ledger, database_url):
    database = Database(database_url, application_name="tangent-tests")
    listening = database.listen(0.5)
    assert next(listening) == []
    study = add_study(ledger, 0)
    with ledger.transaction() as connection:
        for i in range(300):
            add_event(connection, study, "cell", {"i": i})
    heard: list[str] = []
    for batch in listening:
        heard += batch
        if not batch:
            break
    listening.close()
    assert [payload for payload in heard if '"cell"' in payload] == [f'[{study}, {r}, "cell"]' for r in range(2, 302)]
