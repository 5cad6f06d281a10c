"""Optuna's own semantics on the ledger: load_study, frames, plots, importance, copies; and no writes."""

import math
import warnings
from collections import Counter

import optuna
import pytest
from optuna.trial import TrialState as OptunaState
from sqlalchemy import event, exc, text

from service.domain.trial import Outcome, Phase, StudyId
from service.errors import ReadOnlyStorageError
from service.optuna_storage import LedgerStorage
from service.store import optuna_reads
from service.store.database import Database
from service.store.leases import Finish, finish_trial, hand_back_trial, renew_lease
from service.store.studies import end_study
from service.store.trials import records
from tests.integration.store.support import LEASE, add_study, claim_one


def ledger_records(url, study_id):
    database = Database(url, application_name="tangent-tests")
    with database.transaction() as connection:
        found = records(connection, study_id)
    database.close()
    return found


def load(storage, name):
    return optuna.load_study(study_name=name, storage=storage)


def test_every_cell_arm_and_set_of_reruns_is_a_study(storage):
    names = {f"study-1/arm{a}{rest}" for a in (0, 1) for rest in ("", "/r0", "/r1", "/reruns")}
    assert set(optuna.get_all_study_names(storage)) == names
    assert [study._study_id for study in storage.get_all_studies()] == sorted(
        study._study_id for study in storage.get_all_studies()
    )


def test_a_cell_shows_what_its_sampler_saw(storage, finished):
    cell = [t for t in ledger_records(*finished) if (t.arm, t.replicate, t.phase) == ("arm0", 1, Phase.SEARCH)]
    cell.sort(key=lambda trial: trial.cell_number)
    study = load(storage, "study-1/arm0/r1")
    assert study.direction.name == "MINIMIZE"
    assert len(study.trials) == len(cell) == 12
    for shown, known in zip(study.trials, cell, strict=True):
        chance = math.log(10)
        assert shown.number == known.cell_number
        assert shown.state is OptunaState.COMPLETE
        assert shown.value == pytest.approx(chance if known.outcome is Outcome.DIVERGED else known.value)
        assert shown.params.items() <= known.params.items()
        assert set(shown.params) == set(shown.distributions)
        assert shown.user_attrs["seed"] == str(known.seed)
        assert shown.user_attrs["number"] == known.number
        assert shown.user_attrs["phase"] == "search"
        assert shown.user_attrs["attempt"] == 1
        assert shown.user_attrs["metrics.accuracy"] == 0.5
        assert shown.intermediate_values[0] == 2.0
        assert math.isnan(shown.intermediate_values[1])
        assert shown.datetime_start <= shown.datetime_complete
        assert shown.datetime_start.tzinfo is None


def test_an_arm_pools_its_replicates_and_reruns_stand_apart(storage, finished):
    kept = ledger_records(*finished)
    pooled, reruns = load(storage, "study-1/arm1"), load(storage, "study-1/arm1/reruns")
    mine = [t for t in kept if t.arm == "arm1"]
    assert [t.user_attrs["number"] for t in pooled.trials] == [t.number for t in mine if t.phase is Phase.SEARCH]
    assert [t.user_attrs["number"] for t in reruns.trials] == [t.number for t in mine if t.phase is not Phase.SEARCH]
    assert Counter(t.user_attrs["phase"] for t in reruns.trials) == {"select": 8, "confirm": 4}
    assert [t.number for t in pooled.trials] == list(range(24))
    assert all("test_value" in t.user_attrs for t in reruns.trials if t.user_attrs["phase"] == "confirm")


def test_ids_are_unique_and_lead_back_to_their_trial(storage):
    seen = {}
    for study in storage.get_all_studies():
        for trial in storage.get_all_trials(study._study_id):
            assert trial._trial_id not in seen
            seen[trial._trial_id] = trial
    assert all(storage.get_trial(trial_id) == trial for trial_id, trial in seen.items())
    fresh = LedgerStorage(storage._database, storage._scope)
    assert fresh.get_trial(max(seen)) == seen[max(seen)]
    with pytest.raises(KeyError, match="there is no trial with id 99999"):
        storage.get_trial(99999)


def test_best_trial_frame_importance_and_attributes_are_optunas(storage, finished):
    study = load(storage, "study-1/arm0")
    assert study.best_value == min(trial.value for trial in study.trials)
    frame = study.trials_dataframe()
    assert len(frame) == 24
    assert {"params_lr", "user_attrs_seed", "value", "datetime_start"} <= set(frame.columns)
    assert set(optuna.importance.get_param_importances(study)) == set(study.trials[0].params)
    assert study.user_attrs["optimizer"] == "AdamW"
    assert study.user_attrs["origin"] == "submitted"
    assert study.user_attrs["value"] == "validation NLL"
    assert load(storage, "study-1/arm0/r1").user_attrs["replicate"] == 1


PLOTS = [name for name in optuna.visualization.__all__ if name.startswith("plot_")]
SINGLE = [name for name in PLOTS if name != "plot_hypervolume_history"]
EXTRA = {
    "plot_pareto_front": {"targets": lambda trial: (trial.value, trial.user_attrs["duration_s"])},
    "plot_terminator_improvement": {"min_n_trials": 3},
}


@pytest.mark.parametrize("name", SINGLE)
def test_every_plot_of_optuna_can_be_drawn(storage, name):
    study = load(storage, "study-1/arm0/r0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of plots that Optuna calls experimental
        figure = getattr(optuna.visualization, name)(study, **EXTRA.get(name, {}))
    assert figure.data


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_the_plot_of_several_objectives_is_refused_by_optuna_itself(storage):
    with pytest.raises(ValueError, match="single-objective"):
        optuna.visualization.plot_hypervolume_history(load(storage, "study-1/arm0/r0"), [1.0])


def test_a_copy_into_optunas_own_storage_is_whole_and_goes_on(storage, tmp_path):
    target = f"sqlite:///{tmp_path / 'copy.db'}"
    optuna.copy_study(from_study_name="study-1/arm0/r0", from_storage=storage, to_storage=target)
    copied = optuna.load_study(study_name="study-1/arm0/r0", storage=target)
    assert [t.params for t in copied.trials] == [t.params for t in load(storage, "study-1/arm0/r0").trials]
    trial = copied.ask(fixed_distributions=copied.trials[0].distributions)
    copied.tell(trial, 0.5)
    assert len(copied.trials) == 13
    copied._storage.remove_session()
    copied._storage._backend.engine.dispose()


WRITES = {
    "ask": lambda study: study.ask(),
    "add_trial": lambda study: study.add_trial(study.trials[0]),
    "set_user_attr": lambda study: study.set_user_attr("a", 1),
    "optimize": lambda study: study.optimize(lambda _: 0.0, n_trials=1),
    "set_system_attr": lambda study: study._storage.set_study_system_attr(study._study_id, "a", 1),
    "create": lambda study: optuna.create_study(storage=study._storage, study_name="x"),
    "delete": lambda study: optuna.delete_study(study_name=study.study_name, storage=study._storage),
    "state": lambda study: study._storage.set_trial_state_values(0, OptunaState.COMPLETE, [1.0]),
    "param": lambda study: study._storage.set_trial_param(0, "lr", 1.0, study.trials[0].distributions["lr"]),
    "value": lambda study: study._storage.set_trial_intermediate_value(0, 1, 1.0),
    "trial attr": lambda study: study._storage.set_trial_user_attr(0, "a", 1),
    "trial system attr": lambda study: study._storage.set_trial_system_attr(0, "a", 1),
}


@pytest.mark.parametrize("write", WRITES)
def test_every_write_is_refused_with_the_reason_and_the_way_out(storage, write):
    study = load(storage, "study-1/arm0/r0")
    with pytest.raises(ReadOnlyStorageError, match=r"under leases, .* submit a study with .*copy_study"):
        WRITES[write](study)


def test_postgres_itself_refuses_a_write_in_a_reading_transaction(finished):
    database = Database(finished[0], application_name="tangent-tests")
    with pytest.raises(exc.InternalError, match="read-only transaction"), optuna_reads.reading(database) as connection:
        connection.execute(text("DELETE FROM trials"))
    database.close()


def test_an_unknown_study_is_named_beside_the_known_ones(storage):
    with pytest.raises(KeyError, match="there is no Optuna study 'x'; there are study-1/arm0, study-1/arm0/r0"):
        load(storage, "x")
    with pytest.raises(KeyError, match="no Optuna study with id 12345"):
        storage.get_all_trials(12345)


def test_trials_are_seen_waiting_running_measured_and_ended(ledger, live):
    study_id = add_study(ledger, 3)
    study = load(live, f"study-{study_id}/arm0/r0")
    assert [t.state.name for t in study.trials] == ["WAITING"] * 3
    claimed = claim_one(ledger)
    assert [t.state.name for t in study.trials] == ["RUNNING", "WAITING", "WAITING"]
    before = study.trials[0]
    for epoch, value in ((1, 0.9), (2, 0.7)):
        with ledger.transaction() as connection:
            measured = [{"epoch": epoch, "step": epoch, "value": value, "metrics": {}, "layers": {}}]
            assert renew_lease(connection, claimed.trial_id, claimed.attempt, LEASE, measured) is not None
        assert study.trials[0].intermediate_values[epoch] == value
    assert before.intermediate_values == {}
    with ledger.transaction() as connection:
        assert finish_trial(connection, claimed.trial_id, claimed.attempt, Finish(Outcome.PRUNED, value=0.7))
    assert (study.trials[0].state.name, study.trials[0].value) == ("PRUNED", 0.7)
    second = claim_one(ledger)
    with ledger.transaction() as connection:
        hand_back_trial(connection, second.trial_id, second.attempt, outcome=Outcome.LOST, reason="worker gone")
    assert (study.trials[1].state.name, study.trials[1].user_attrs["reason"]) == ("WAITING", "worker gone")
    with ledger.transaction() as connection:
        assert end_study(connection, study_id, "CANCELLED", "enough")
    assert [t.state.name for t in study.trials] == ["PRUNED", "FAIL", "FAIL"]
    assert study.trials[2].user_attrs["outcome"] == "cancelled"
    assert load(live, study.study_name).user_attrs["state"] == "CANCELLED"
    copied = optuna.create_study()
    copied.add_trials(study.trials)
    assert len(copied.trials) == 3


def n_lines_read(monkeypatch):
    """Counts the trials that looks bring from the ledger."""
    counts = []
    original = optuna_reads.look

    def counting(*arguments):
        seen = original(*arguments)
        counts.append(len(seen.trials))
        return seen

    monkeypatch.setattr(optuna_reads, "look", counting)
    return counts


def test_only_trials_that_changed_are_read_again(ledger, live, monkeypatch):
    study_id = add_study(ledger, 200)
    counts = n_lines_read(monkeypatch)
    study = load(live, f"study-{study_id}/arm0/r0")
    assert len(study.get_trials(deepcopy=False)) == 200
    study.get_trials(deepcopy=False)
    claimed = claim_one(ledger)
    study.get_trials(deepcopy=False)
    with ledger.transaction() as connection:
        finish_trial(connection, claimed.trial_id, claimed.attempt, Finish(Outcome.FINISHED, value=0.5))
    study.get_trials(deepcopy=False)
    study.get_trials(deepcopy=False)
    assert counts == [200, 0, 1, 1, 0]


def test_memory_holds_the_trials_of_a_few_studies_only(ledger, opening):
    ids = [add_study(ledger, 2) for _ in range(4)]
    storage = opening(max_loaded=2)
    for study_id in ids:
        assert len(load(storage, f"study-{study_id}/arm0/r0").trials) == 2
    assert list(storage._loaded) == ids[-2:]
    assert len(load(storage, f"study-{ids[0]}/arm0/r0").trials) == 2


def test_within_the_refresh_period_no_statement_is_sent(ledger, opening):
    study_id = add_study(ledger, 2)
    storage = opening(refresh_s=3600)
    study = load(storage, f"study-{study_id}/arm0/r0")
    assert len(study.trials) == 2
    assert study.user_attrs["arm"] == "arm0"
    statements = []
    event.listen(storage._database._engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    for _ in range(3):
        assert len(study.trials) == 2
        assert study.user_attrs["arm"] == "arm0"
    assert statements == []


def test_a_study_out_of_scope_is_not_shown(ledger, opening):
    first, second = add_study(ledger, 1), add_study(ledger, 1)
    everything, one = opening(), opening(first)
    assert len(optuna.get_all_study_names(everything)) == 6
    assert len(optuna.get_all_study_names(one)) == 3
    trial = load(everything, f"study-{second}/arm0").trials[0]
    with pytest.raises(KeyError):
        one.get_trial(trial._trial_id)


def test_a_study_that_is_deleted_vanishes(ledger, live):
    study_id = add_study(ledger, 1)
    study = load(live, f"study-{study_id}/arm0/r0")
    assert len(study.trials) == 1
    with ledger.transaction() as connection:
        connection.execute(text("DELETE FROM studies WHERE id = :id"), {"id": study_id})
    with pytest.raises(KeyError):
        study.get_trials()
    assert optuna.get_all_study_names(live) == []
    assert StudyId(study_id) not in live._books
