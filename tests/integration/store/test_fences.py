"""Every write of a slot is refused once the trial is not its own."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from service.domain.trial import Outcome, TrialState
from service.store.leases import (
    Finish,
    Wish,
    expired_trials,
    finish_trial,
    hand_back_trial,
    note_resumed,
    renew_lease,
    save_checkpoint,
)
from service.store.studies import end_study
from service.store.trials import get_trial, layer_measurements
from tests.integration.store.support import (
    FINISHED,
    GONE,
    LEASE,
    add_study,
    assert_consistent,
    claim_one,
    state_of,
)

EPOCH = {"epoch": 1, "step": 10, "value": 0.4, "metrics": {"train_loss": 0.3}, "layers": {}}


def writes(connection, trial_id, attempt):
    """All writes that a slot may do, and what each answers."""
    return {
        "renew": renew_lease(connection, trial_id, attempt, LEASE, [EPOCH]),
        "checkpoint": save_checkpoint(connection, trial_id, attempt, {"step": 3}) or None,
        "resumed": note_resumed(connection, trial_id, attempt, 3) or None,
        "hand back": hand_back_trial(connection, trial_id, attempt, outcome=None, reason="x"),
        "lost": hand_back_trial(connection, trial_id, attempt, outcome=Outcome.LOST, reason="x"),
        "finish": finish_trial(connection, trial_id, attempt, FINISHED) or None,
    }


def snapshot(connection):
    tables = ("studies", "trials", "attempts", "measurements", "events")
    return [connection.execute(text(f"SELECT * FROM {table} ORDER BY 1, 2")).all() for table in tables]


def take_back(ledger, claimed):
    with ledger.transaction() as connection:
        return hand_back_trial(
            connection, claimed.trial_id, claimed.attempt, outcome=Outcome.LOST, reason="gone", only_expired=True
        )


def finished(ledger, claimed):
    with ledger.transaction() as connection:
        assert finish_trial(connection, claimed.trial_id, claimed.attempt, FINISHED)


@pytest.mark.parametrize("what_happened", ["taken back", "claimed again", "finished", "never claimed"])
def test_no_write_of_a_lost_attempt_changes_anything(ledger, what_happened):
    add_study(ledger, 1)
    first = claim_one(ledger, lease=GONE)
    attempt = first.attempt
    if what_happened in ("taken back", "claimed again"):
        assert take_back(ledger, first) is TrialState.WAITING
    if what_happened == "claimed again":
        assert claim_one(ledger).attempt == 2
    if what_happened == "finished":
        finished(ledger, first)
    if what_happened == "never claimed":
        attempt = 7
    with ledger.transaction() as connection:
        before = snapshot(connection)
        assert set(writes(connection, first.trial_id, attempt).values()) == {None}
        assert snapshot(connection) == before
    assert_consistent(ledger)


def test_lease_that_has_ended_is_still_the_slots_until_it_is_taken_back(ledger):
    """Postgres being away is no reason to throw a result away that nobody else works on."""
    add_study(ledger, 1)
    claimed = claim_one(ledger, lease=GONE)
    with ledger.transaction() as connection:
        assert expired_trials(connection) == [(claimed.trial_id, 1)]
        assert renew_lease(connection, claimed.trial_id, 1, LEASE) is Wish.GO_ON
        assert expired_trials(connection) == []
    assert take_back(ledger, claimed) is None
    finished(ledger, claimed)
    assert_consistent(ledger)


def test_lost_and_out_of_memory_count_towards_the_cap_and_releases_do_not(ledger):
    study = add_study(ledger, 1, attempts=3)
    ends = [None, Outcome.LOST, None, None, Outcome.OUT_OF_MEMORY, None, Outcome.LOST]
    states = []
    for outcome in ends:
        claimed = claim_one(ledger)
        with ledger.transaction() as connection:
            states.append(hand_back_trial(connection, claimed.trial_id, claimed.attempt, outcome=outcome, reason="r"))
        assert_consistent(ledger)
    assert states == [TrialState.WAITING] * 6 + [TrialState.FAIL]
    with ledger.transaction() as connection:
        trial = get_trial(connection, study, 0)
    assert (trial["state"], trial["outcome"], trial["attempt"]) == ("FAIL", "lost", 7)
    assert [a["outcome"] for a in trial["attempts"]] == [o.value if o else "released" for o in ends]


def test_one_attempt_allowed_means_one(ledger):
    add_study(ledger, 1, attempts=1)
    assert take_back(ledger, claim_one(ledger, lease=GONE)) is TrialState.FAIL
    assert_consistent(ledger)


def test_handed_back_trial_keeps_parameters_seed_and_checkpoint(ledger):
    add_study(ledger, 1)
    first = claim_one(ledger)
    with ledger.transaction() as connection:
        assert save_checkpoint(connection, first.trial_id, 1, {"step": 5})
        hand_back_trial(connection, first.trial_id, 1, outcome=Outcome.LOST, reason="gone")
    second = claim_one(ledger)
    assert (second.params, second.seed, second.checkpoint) == (first.params, first.seed, {"step": 5})
    with ledger.transaction() as connection:
        hand_back_trial(connection, first.trial_id, 2, outcome=None, reason="stop", checkpoint={"step": 9})
    assert claim_one(ledger).checkpoint == {"step": 9}


def test_finish_writes_result_measurements_attempt_and_event_together(ledger):
    study = add_study(ledger, 1, optimizers=("AdamW",))
    claimed = claim_one(ledger)
    with ledger.transaction() as connection:
        assert renew_lease(connection, claimed.trial_id, 1, LEASE, [EPOCH]) is Wish.GO_ON
    later = {**EPOCH, "epoch": 2, "value": 0.2}
    end = Finish(Outcome.DIVERGED, metrics={"a": 1.0}, n_steps=20, duration_s=2.0, cpu_s=1.5, measurements=[later])
    with ledger.transaction() as connection:
        assert finish_trial(connection, claimed.trial_id, 1, end)
        trial = get_trial(connection, study, 0)
    assert (trial["state"], trial["outcome"], trial["value"]) == ("COMPLETE", "diverged", None)
    assert [(m["epoch"], m["value"], m["attempt"]) for m in trial["measurements"]] == [(1, 0.4, 1), (2, 0.2, 1)]
    assert trial["attempts"][0]["outcome"] == "diverged"
    row = state_of(ledger, "studies", study)
    assert (row.n_complete, row.n_diverged, row.n_running) == (1, 1, 0)
    assert_consistent(ledger)


@pytest.mark.parametrize("outcome", list(Outcome))
def test_each_outcome_moves_its_counter(ledger, outcome):
    add_study(ledger, 1)
    claimed = claim_one(ledger)
    with ledger.transaction() as connection:
        assert finish_trial(connection, claimed.trial_id, 1, Finish(outcome, value=0.1 if outcome.counts else None))
    assert_consistent(ledger)


@pytest.mark.parametrize("value", [0.0, -0.1, float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("field", ["value", "test_value"])
def test_endpoint_without_a_logarithm_is_refused(ledger, value, field):
    add_study(ledger, 1)
    claimed = claim_one(ledger)
    end = Finish(Outcome.FINISHED, **{"value": 0.5, field: value})
    with pytest.raises(IntegrityError, match=f"ck_trials_{field}"), ledger.transaction() as connection:
        finish_trial(connection, claimed.trial_id, 1, end)
    assert_consistent(ledger)


def test_renewal_says_that_the_study_has_ended_even_to_a_trial_that_was_not_asked(ledger):
    study = add_study(ledger, 2)
    claimed = claim_one(ledger)
    with ledger.transaction() as connection:
        assert end_study(connection, study, "CANCELLED")
        connection.execute(text("UPDATE trials SET is_cancel_requested = false"))
    with ledger.transaction() as connection:
        assert renew_lease(connection, claimed.trial_id, 1, LEASE) is Wish.CANCEL


def test_layers_are_read_from_finished_confirm_runs_only(ledger):
    study = add_study(ledger, 3)
    layers = {
        "b": {"weight_norm": 2.0, "effective_lr": 0.1, "projection_rate": 0.5, "is_scale_invariant": True},
        "a": {"weight_norm": 1.0, "effective_lr": 0.2, "projection_rate": None, "is_scale_invariant": False},
        "empty": {"weight_norm": None, "effective_lr": None},
    }
    epoch = {**EPOCH, "layers": layers}
    with ledger.transaction() as connection:
        connection.execute(text("UPDATE trials SET phase = 'confirm' WHERE number < 2"))
    for outcome in (Outcome.FINISHED, Outcome.DIVERGED, Outcome.FINISHED):
        claimed = claim_one(ledger)
        with ledger.transaction() as connection:
            assert finish_trial(connection, claimed.trial_id, 1, Finish(outcome, value=0.3, measurements=[epoch]))
    with ledger.transaction() as connection:
        found = layer_measurements(connection, study)
    assert [(m.trial, m.layer, m.epoch, m.weight_norm, m.projection_rate) for m in found] == [
        (0, "a", 1, 1.0, None),
        (0, "b", 1, 2.0, 0.5),
    ]
    assert [m.is_scale_invariant for m in found] == [False, True]
