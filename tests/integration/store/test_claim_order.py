"""Which trial a slot gets."""

import random
from collections import Counter

from sqlalchemy import text

from service.store.leases import finish_trial
from tests.integration.store.support import (
    FINISHED,
    add_study,
    assert_consistent,
    capabilities,
    claim,
    claim_one,
    state_of,
)


def test_trials_of_a_study_come_in_the_order_of_their_sort_keys(ledger):
    add_study(ledger, 4, sort_keys=[30, 10, 40, 20])
    assert [claim_one(ledger).seed for _ in range(4)] == [1, 3, 0, 2]
    assert_consistent(ledger)


def test_higher_priority_goes_first_whatever_runs(ledger):
    low, high = add_study(ledger, 2, priority=-1), add_study(ledger, 2, priority=5)
    assert [claim_one(ledger).study_id for _ in range(4)] == [high, high, low, low]


def test_studies_of_one_priority_share_by_running_over_weight(ledger):
    one, three = add_study(ledger, 8), add_study(ledger, 8, columns={"weight": 3.0})
    claimed = [claim_one(ledger).study_id for _ in range(8)]
    assert (claimed.count(one), claimed.count(three)) == (2, 6)
    assert claimed[:2] == [one, three]  # at a tie the older study


def test_running_slots_keep_the_ratio_of_the_weights_whichever_trial_ends(ledger):
    one, three = add_study(ledger, 40), add_study(ledger, 90, columns={"weight": 3.0})
    running, chance = [claim_one(ledger) for _ in range(8)], random.Random(0)
    for _ in range(60):
        counts = Counter(trial.study_id for trial in running)
        assert counts == {one: 2, three: 6}
        ended = running.pop(chance.randrange(8))
        with ledger.transaction() as connection:
            assert finish_trial(connection, ended.trial_id, ended.attempt, FINISHED)
        running.append(claim_one(ledger))
    assert_consistent(ledger)


def test_a_finished_trial_frees_its_study_share(ledger):
    first, second = add_study(ledger, 3), add_study(ledger, 3)
    a, b = claim_one(ledger), claim_one(ledger)
    assert (a.study_id, b.study_id) == (first, second)
    with ledger.transaction() as connection:
        assert finish_trial(connection, b.trial_id, b.attempt, FINISHED)
    assert claim_one(ledger).study_id == second


def test_paused_and_ended_studies_give_nothing(ledger):
    for state in ("PAUSED", "FINISHED", "FAILED", "CANCELLED"):
        add_study(ledger, 1, columns={"state": state})
    with ledger.transaction() as connection:
        assert claim(connection) is None


def test_each_capability_is_required(ledger):
    add_study(ledger, 1, device="cpu")
    wrong = [
        {"queue": "gpu"},
        {"devices": ("cuda", "cuda:H200")},
        {"workloads": ("digits-cnn",)},
        {"optimizers": ("SGD",)},
        {"devices": ()},
    ]
    with ledger.transaction() as connection:
        assert [claim(connection, **lacking) for lacking in wrong] == [None] * len(wrong)
        assert claim(connection) is not None


def test_an_arm_that_a_slot_cannot_run_does_not_hide_another(ledger):
    add_study(ledger, 4, optimizers=("AdamW", "SGD"))
    assert [claim_one(ledger, optimizers=("SGD",)).optimizer for _ in range(2)] == ["SGD", "SGD"]
    with ledger.transaction() as connection:
        assert claim(connection, optimizers=("SGD",)) is None


def test_a_study_that_a_slot_cannot_run_does_not_hide_a_less_urgent_one(ledger):
    add_study(ledger, 1, priority=9, optimizers=("SGD",))
    second = add_study(ledger, 1)
    assert claim_one(ledger, optimizers=("AdamW",)).study_id == second


def test_a_model_class_runs_only_where_a_slot_has_it(ledger):
    study = add_study(ledger, 1, device="cuda:H200")
    with ledger.transaction() as connection:
        assert claim(connection, queue="gpu", devices=("cuda", "cuda:A100")) is None
        claimed = claim(connection, queue="gpu", devices=("cuda", "cuda:H200"))
    assert claimed is not None
    assert claimed.study_id == study


def test_first_claim_pins_the_code_revision(ledger):
    study = add_study(ledger, 3)
    claim_one(ledger, code_revision="r1")
    assert state_of(ledger, "studies", study).code_revision == "r1"
    with ledger.transaction() as connection:
        assert claim(connection, code_revision="r2") is None
        assert claim(connection, code_revision="r1") is not None


def test_claim_carries_what_a_slot_needs(ledger):
    study = add_study(ledger, 1)
    claimed = claim_one(ledger)
    assert (claimed.study_id, claimed.number, claimed.attempt, claimed.optimizer) == (study, 0, 1, "AdamW")
    assert claimed.params == {"lr": 0.01, "weight_decay": 0.001, "one_minus_beta1": 0.1}
    assert claimed.spec["workload"] == {"name": "digits-mlp", "options": {"epochs": 1}}
    assert claimed.deadline_s == 600.0
    assert claimed.checkpoint is None
    assert capabilities().code_revision == state_of(ledger, "studies", study).code_revision


def test_time_of_earlier_attempts_is_taken_off_the_limit(ledger):
    add_study(ledger, 1)
    claimed = claim_one(ledger)
    with ledger.transaction() as connection:
        connection.execute(
            text("UPDATE attempts SET started_at = now() - interval '70 s', ended_at = now() - interval '10 s'")
        )
        connection.execute(text("UPDATE trials SET state = 'WAITING', lease_expires_at = NULL"))
        connection.execute(text("UPDATE studies SET n_waiting = 1, n_running = 0"))
    again = claim_one(ledger)
    assert (again.trial_id, again.attempt) == (claimed.trial_id, 2)
    assert abs(again.deadline_s - 540.0) < 0.01
