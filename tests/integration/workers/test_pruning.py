"""Pruning with real slots and a real coordinator: decisions are obeyed, and the same for any number of slots."""

import pytest
from sqlalchemy import text

from service.domain.catalog import BUILT_IN
from service.domain.reproduction import judge_reproduction
from service.domain.study import Arm, SearchPlan, Study
from service.domain.trial import Phase
from service.reproducing import run_document
from service.search import CellPruner
from service.store.rungs import Decision, decision_on, save_decision, undecided_rungs
from service.store.studies import cells_of, get_study, insert_study
from service.store.trials import NewTrial, cell_trials, get_trial, insert_trials
from tests.integration.coordinator.support import coordinating
from tests.integration.workers.support import PARAMS, wait_until
from workers.attempt import execute
from workers.reproduce import repeat, stored_run
from workers.run import Run
from workers.training import configure_torch

PRUNED = Study(
    name="pruned",
    workload="digits-mlp",
    arms=tuple(Arm(n.lower(), n, BUILT_IN.optimizers[n].default_space) for n in ("AdamW", "AdamP")),
    compare=(("adamw", "adamp"),),
    options={"epochs": 5, "width": 16},
    search=SearchPlan("tpe", 6, "median", options={"n_startup_trials": 2}, pruner_options={"n_startup_trials": 2}),
    select_top=1,
    select_seeds=1,
    confirm_seeds=1,
    replicates=2,
)


def run(ledger, study):
    """The study's search trials as the ledger has them at its end."""
    with ledger.transaction() as connection:
        study_id = insert_study(connection, study, {})

    def is_finished():
        with ledger.transaction() as connection:
            row = get_study(connection, study_id)
        assert row.state != "FAILED", row.reason
        return row.is_finished

    wait_until(is_finished, patience_s=120)
    with ledger.transaction() as connection:
        found = cell_trials(connection, study_id)
        epochs = connection.execute(
            text("SELECT trial_id, max(epoch) FROM measurements GROUP BY trial_id"),
        ).all()
        decisions = {trial.trial_id: decision_on(connection, trial.trial_id) for trial in found}
    return [trial for trial in found if trial.record.phase is Phase.SEARCH], dict(epochs), decisions


def facts(trials):
    return sorted(
        (t.record.arm, t.record.replicate, t.record.cell_number, t.record.outcome, t.record.value) for t in trials
    )


@pytest.fixture
def coordinator(database_url, redis):
    with coordinating(database_url, redis.url):
        yield


def test_the_same_trials_are_pruned_at_the_same_epochs_by_one_slot_and_by_three(ledger, coordinator, start_worker):
    start_worker(TANGENT_SLOTS="1").wait_for_line("serving cpu with 1 slots")
    one, last_epochs, decisions = run(ledger, PRUNED)
    start_worker(TANGENT_SLOTS="2").wait_for_line("serving cpu with 2 slots")
    three, _, _ = run(ledger, PRUNED)
    assert facts(one) == facts(three)
    pruned = [trial for trial in one if trial.record.outcome == "pruned"]
    assert pruned
    for trial in pruned:
        decision = decisions[trial.trial_id]
        assert decision.prune
        assert trial.record.value == decision.value
        assert last_epochs[trial.trial_id] == decision.epoch + 1
        assert trial.record.n_steps < max(t.record.n_steps for t in one)
    assert reproduced(ledger, pruned[0].record.number).is_bitwise


def reproduced(ledger, number):
    """The first study's trial, run again from what the ledger shows of it."""
    with ledger.transaction() as connection:
        trial = get_trial(connection, 1, number)
    document = run_document({"spec": PRUNED.to_dict()}, trial, 0.25)
    stored = stored_run(document["stored"])
    configure_torch(int(stored.environment["n_threads"]))
    return judge_reproduction(stored, repeat(Run(**document["run"]), "cpu", (), document["pruned_at"]))


def test_every_decision_is_that_of_the_pruner_on_the_finished_cell(ledger, coordinator, start_worker):
    start_worker(TANGENT_SLOTS="2").wait_for_line("serving cpu with 2 slots")
    trials, _, decisions = run(ledger, PRUNED)
    with ledger.transaction() as connection:
        rows = connection.execute(text("SELECT trial_id, epoch, value FROM measurements WHERE epoch > 0")).all()
    n_pruned = 0
    for arm, replicate in {(t.record.arm, t.record.replicate) for t in trials}:
        pruner = CellPruner(PRUNED, replicate)
        for trial in sorted(trials, key=lambda t: t.record.cell_number):
            if (trial.record.arm, trial.record.replicate) != (arm, replicate):
                continue
            decision = decisions[trial.trial_id]
            rungs = {epoch: value for trial_id, epoch, value in rows if trial_id == trial.trial_id}
            known = {epoch: value for epoch, value in rungs.items() if epoch <= decision.epoch}
            pruner.report(trial.record, known)
            verdicts = [pruner.decide(trial.record.cell_number, epoch) for epoch in sorted(known)]
            assert verdicts == [False] * (len(known) - 1) + [decision.prune]
            n_pruned += decision.prune
    assert n_pruned == sum(trial.record.outcome == "pruned" for trial in trials)


def test_a_trial_goes_on_where_no_coordinator_answers(ledger, claim, place, monkeypatch):
    monkeypatch.setattr("workers.rungs._POLL_S", 0.001)
    with ledger.transaction() as connection:
        study_id = insert_study(connection, PRUNED, {})
    quick = type(place)(**{**vars(place), "lease": type(place.lease)(seconds=0.6)})
    _add_search_trial(ledger, study_id)
    taken = claim()
    assert execute(taken, quick)
    with ledger.transaction() as connection:
        (trial,) = cell_trials(connection, study_id)
        assert trial.record.outcome == "finished"
        assert undecided_rungs(connection, study_id) == []  # it runs no longer
        assert not save_decision(connection, trial.trial_id, Decision(1, True, 0.5))


def _add_search_trial(ledger, study_id):
    with ledger.transaction() as connection:
        cell = cells_of(connection, study_id)[0]
        trial = NewTrial(cell.id, 0, Phase.SEARCH, 0, 0, 7, "AdamW", PARAMS, 0)
        assert insert_trials(connection, study_id, [trial]) == 0
