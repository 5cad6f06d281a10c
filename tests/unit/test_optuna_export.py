"""An export that Optuna's own users open."""

import optuna
import pytest

from service.domain.space import Dimension, Scale, log
from service.domain.study import Arm, SearchPlan, Study
from service.errors import TangentError
from service.optuna_export import write_optuna_storage
from service.search import distribution_of

SPACE = {
    "lr": log(1e-4, 1e-1),
    "depth": Dimension(Scale.INT, 1.0, 8.0),
    "mode": Dimension(Scale.CHOICE, choices=("a", True, 3)),
    "weight_decay": 0.01,
}
ENDS = [
    ("COMPLETE", "finished", 0.25),
    ("COMPLETE", "diverged", None),
    ("FAIL", "lost", None),
    ("PRUNED", "pruned", 0.9),
    ("RUNNING", None, None),
    ("WAITING", None, None),
]


def trial(arm, replicate, number, end, phase="search"):
    state, outcome, value = end
    params = {"lr": 1e-4, "depth": 1 + number, "mode": ("a", True, 3)[number % 3], "weight_decay": 0.01}
    place = {"number": 100 + number, "arm": arm, "replicate": replicate, "phase": phase, "cell_number": number}
    return {**place, "seed": 2**58, "state": state, "outcome": outcome, "value": value, "params": params}


@pytest.fixture(scope="module")
def export():
    arms = (Arm("a", "SGD", SPACE), Arm("b", "Adam", {"lr": 0.1}))
    study = Study("s/1", "digits-cnn", arms, (), search=SearchPlan(trials=6), replicates=2)
    trials = [trial("a", r, n, end) for r in (0, 1) for n, end in reversed(list(enumerate(ENDS)))]
    trials += [{**trial("b", 0, 0, ENDS[0]), "params": {"lr": 0.1}}, trial("a", 0, 7, ENDS[0], phase="confirm")]
    document = {"spec": study.to_dict(), "spec_hash": study.spec_hash}
    return {"study": document, "workload": {"chance_level": 2.3}, "trials": trials}


@pytest.fixture(scope="module")
def opened(export, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "out.db"
    names = write_optuna_storage(export, path)
    storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
    yield {name: optuna.load_study(study_name=name, storage=storage) for name in names}
    storage.remove_session()
    storage.engine.dispose()


def test_each_arm_and_replicate_is_a_study_that_optuna_loads(opened, export):
    assert list(opened) == ["s/1/a/r0", "s/1/a/r1", "s/1/b/r0", "s/1/b/r1"]
    assert all(s.direction is optuna.study.StudyDirection.MINIMIZE for s in opened.values())
    assert {s.user_attrs["spec_hash"] for s in opened.values()} == {export["study"]["spec_hash"]}


def test_states_and_values_are_the_ledger_s_and_diverged_is_chance(opened):
    states = optuna.trial.TrialState
    found = [(t.state, t.value, t.user_attrs["outcome"]) for t in opened["s/1/a/r1"].trials]
    assert found == [
        (states.COMPLETE, 0.25, "finished"),
        (states.COMPLETE, 2.3, "diverged"),
        (states.FAIL, None, "lost"),
        (states.PRUNED, 0.9, "pruned"),
    ]


def test_parameters_and_distributions_are_those_that_were_searched(opened):
    trials = opened["s/1/a/r0"].trials
    assert [t.params for t in trials[:2]] == [
        {"lr": 1e-4, "depth": 1, "mode": "a"},
        {"lr": 1e-4, "depth": 2, "mode": True},
    ]
    searched = {name: distribution_of(entry) for name, entry in SPACE.items() if isinstance(entry, Dimension)}
    assert trials[0].distributions == searched
    assert opened["s/1/b/r0"].trials[0].params == {}
    assert opened["s/1/b/r1"].trials == []


def test_numbers_and_seeds_lead_back_to_the_ledger(opened):
    assert [t.user_attrs["number"] for t in opened["s/1/a/r0"].trials] == [100, 101, 102, 103]
    assert int(opened["s/1/a/r0"].trials[0].user_attrs["seed"]) == 2**58


def test_optuna_s_own_tools_read_it(opened):
    assert opened["s/1/a/r0"].best_value == 0.25


def test_existing_file_is_refused_and_kept(export, tmp_path):
    path = tmp_path / "out.db"
    path.write_text("mine")
    with pytest.raises(TangentError, match="exists; an export writes a new file"):
        write_optuna_storage(export, path)
    assert path.read_text() == "mine"


def test_export_that_fails_leaves_no_file(export, tmp_path):
    broken = {**export["trials"][-1], "phase": "search", "params": {"lr": 5.0}}
    with pytest.raises(KeyError):
        write_optuna_storage({**export, "trials": [broken]}, tmp_path / "out.db")
    assert list(tmp_path.iterdir()) == []
