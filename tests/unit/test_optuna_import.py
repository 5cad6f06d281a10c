"""What an Optuna study becomes: every trial at its number, nothing dropped without a sentence."""

import json
import math
import sqlite3

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from service.domain.catalog import BUILT_IN
from service.domain.imported import endpoint_of
from service.domain.space import Dimension, Scale, log
from service.domain.trial import Outcome
from service.errors import InvalidInputError
from service.optuna_import import Wishes, translate
from service.optuna_source import opened_study, without_secrets

LR = FloatDistribution(1e-4, 1e-1, log=True)


def study_of(*trials, direction="minimize"):
    study = optuna.create_study(study_name="old", direction=direction)
    study.add_trials(trials)
    return study


def trial(value=0.5, *, state=TrialState.COMPLETE, params=None, distributions=None, **fields):
    return create_trial(
        state=state,
        values=None if value is None else [value],
        params={"lr": 0.01} if params is None else params,
        distributions={"lr": LR} if distributions is None else distributions,
        **fields,
    )


def imported(*trials, direction="minimize", **wishes):
    return translate(study_of(*trials, direction=direction), Wishes(**wishes), BUILT_IN, "old.db")


def refused(*trials, direction="minimize", **wishes):
    with pytest.raises(InvalidInputError) as caught:
        imported(*trials, direction=direction, **wishes)
    return str(caught.value)


def test_every_trial_keeps_its_number_and_its_end():
    found = imported(
        trial(0.5),
        trial(0.7, state=TrialState.PRUNED, intermediate_values={1: 0.9, 2: 0.7}),
        trial(None, state=TrialState.FAIL),
        trial(math.inf),
        trial(None, state=TrialState.RUNNING),
        trial(None, state=TrialState.WAITING, params={}, distributions={}),
    )
    assert [t.number for t in found.trials] == list(range(6))
    ends = [Outcome.FINISHED, Outcome.PRUNED, Outcome.WORKLOAD_ERROR, Outcome.DIVERGED, Outcome.LOST, Outcome.LOST]
    assert [t.outcome for t in found.trials] == ends
    assert [t.value for t in found.trials] == [0.5, 0.7, None, None, None, None]
    assert found.trials[1].rungs == {1: 0.9, 2: 0.7}
    reasons = [t.reason for t in found.trials]
    assert reasons[2:] == [
        "FAIL in Optuna",
        None,
        *(f"was {s} in Optuna when it was imported" for s in ("RUNNING", "WAITING")),
    ]
    assert "2 RUNNING or WAITING in Optuna, kept as failed: 4, 5" in found.notes
    assert "1 COMPLETE without a finite endpoint, kept as diverged" in found.notes


def test_the_specification_describes_one_search_and_says_where_it_comes_from():
    found = imported(trial(0.5), trial(0.9))
    study = found.study
    assert study.name == "old (imported, not preregistered)"
    assert (study.n_cells, study.search.sampler, study.search.trials) == (1, "imported", 2)
    assert study.arms[0].space == {"lr": log(1e-4, 1e-1)}
    assert found.source == {
        "from": "old.db",
        "study": "old",
        "direction": "minimize",
        "endpoint": "value",
        "floor": 0.0,
        "optuna": optuna.__version__,
        "user_attrs": {},
        "is_preregistered": False,
    }
    assert found.catalog["workloads"]["imported: old"]["chance_level"] == 0.9
    assert study == type(study).from_dict(json.loads(json.dumps(study.to_dict())))


def test_attributes_become_metrics_or_stay_in_the_log():
    kept = imported(trial(user_attrs={"accuracy": 0.9, "host": "a", "flag": True}, system_attrs={"fixed": [1]}))
    assert kept.trials[0].metrics == {"accuracy": 0.9}
    note = json.loads(kept.trials[0].note)["optuna"]
    assert note["user_attrs"] == {"accuracy": 0.9, "host": "a", "flag": True}
    assert note["system_attrs"] == {"fixed": [1]}
    assert "2 user attributes that are no numbers, kept in the trials' logs" in kept.notes


def test_a_long_name_still_ends_with_the_mark():
    name = imported(trial(), name="x" * 300).study.name
    assert len(name) == 200
    assert name.endswith("x (imported, not preregistered)")


def test_a_named_workload_and_optimizer_are_the_catalogs():
    found = imported(trial(), workload="digits-mlp", optimizer="AdamW", name="mine")
    assert found.study.name == "mine (imported, not preregistered)"
    assert (found.study.workload, found.study.arms[0].optimizer) == ("digits-mlp", "AdamW")
    assert found.catalog["workloads"]["digits-mlp"]["chance_level"] == math.log(10)
    strange = imported(
        trial(params={"rate": 0.01}, distributions={"rate": LR}),
        optimizer="AdamW",
    )
    assert any(note.startswith("AdamW has no hyperparameter rate") for note in strange.notes)


RULES = [
    ("minimize", "value", 0.5, 0.5),
    ("minimize", "exp(value)", -1.0, math.exp(-1)),
    ("maximize", "1 - value", 0.9, 0.1),
    ("maximize", "exp(-value)", 2.0, math.exp(-2)),
]


@pytest.mark.parametrize(("direction", "rule", "value", "endpoint"), RULES)
def test_a_value_becomes_a_positive_endpoint_by_the_rule_that_was_named(direction, rule, value, endpoint):
    found = imported(trial(value, intermediate_values={3: value}), direction=direction, endpoint=rule)
    assert found.trials[0].value == pytest.approx(endpoint)
    assert found.trials[0].rungs == {3: pytest.approx(endpoint)}


def test_a_perfect_score_takes_the_floor_or_is_refused_with_the_way_out():
    assert imported(trial(1.0), direction="maximize", endpoint="1 - value", floor=0.001).trials[0].value == 0.001
    message = refused(trial(0.5), trial(1.0), direction="maximize", endpoint="1 - value")
    assert message.startswith(
        "trial 1: 1 - value of 1 is 0, and an endpoint must be above 0; choose another --endpoint"
    )


def test_an_endpoint_too_large_for_a_number_is_diverged():
    assert endpoint_of(1e6, "exp(value)", 0.0) is None
    assert endpoint_of(math.nan, "value", 0.0) is None


REFUSED = [
    ({"direction": "maximize"}, r"'old' is maximised, .* --endpoint '1 - value' or --endpoint 'exp\(-value\)'"),
    ({"endpoint": "1 - value"}, r"'old' is minimised, .* --endpoint 'value' or --endpoint 'exp\(value\)'"),
    ({"endpoint": "value * 2"}, r"unknown endpoint rule 'value \* 2'; known: "),
    ({"workload": "digits-cn"}, "unknown workload 'digits-cn'; .*did you mean digits-cnn?"),
    ({"optimizer": "Adamw2"}, "unknown optimizer 'Adamw2'"),
]


@pytest.mark.parametrize(("wishes", "message"), REFUSED)
def test_what_cannot_be_mapped_is_refused_with_the_known_names(wishes, message):
    direction = wishes.get("direction", "minimize")
    with pytest.raises(InvalidInputError, match=message):
        imported(trial(), direction=direction, **{k: v for k, v in wishes.items() if k != "direction"})


def test_several_objectives_and_empty_studies_are_refused():
    several = optuna.create_study(study_name="two", directions=["minimize", "maximize"])
    with pytest.raises(InvalidInputError, match="'two' has 2 objectives; a Tangent study has one endpoint"):
        translate(several, Wishes(), BUILT_IN, "x")
    assert refused(trial(None, state=TrialState.FAIL)) == "none of its 1 trials is COMPLETE: there is nothing to import"


def test_the_space_is_what_every_finished_trial_has_and_the_rest_is_said():
    both = {"lr": LR, "momentum": FloatDistribution(0.0, 1.0)}
    found = imported(
        trial(params={"lr": 0.01, "momentum": 0.5}, distributions=both),
        trial(params={"lr": 0.01}),
        trial(None, state=TrialState.FAIL, params={}, distributions={}),
    )
    assert found.study.arms[0].space == {"lr": log(1e-4, 1e-1)}
    assert found.trials[0].params == {"lr": 0.01, "momentum": 0.5}
    assert "momentum: in 1 of 2 COMPLETE trials only, so no dimension of the space" in found.notes


DISTRIBUTIONS = [
    (FloatDistribution(0.0, 1.0), 0.5, Dimension(Scale.UNIFORM, 0.0, 1.0), None),
    (
        FloatDistribution(0.0, 1.0, step=0.25),
        0.5,
        Dimension(Scale.UNIFORM, 0.0, 1.0),
        "x: its step of 0.25 is not kept",
    ),
    (IntDistribution(1, 8), 2, Dimension(Scale.INT, 1.0, 8.0), None),
    (
        IntDistribution(1, 8, log=True),
        2,
        Dimension(Scale.INT, 1.0, 8.0),
        "x: its log scale is not kept: whole numbers are uniform in Tangent",
    ),
    (CategoricalDistribution(("a", True, 1)), "a", Dimension(Scale.CHOICE, choices=("a", True, 1)), None),
    (
        CategoricalDistribution(("a", None)),
        None,
        Dimension(Scale.CHOICE, choices=("a", "None")),
        "x: choices that are no scalars are kept as text",
    ),
    (FloatDistribution(0.3, 0.3), 0.3, 0.3, None),
    (CategoricalDistribution(("a",)), "a", "a", None),
]


@pytest.mark.parametrize(("distribution", "value", "entry", "note"), DISTRIBUTIONS)
def test_a_distribution_becomes_a_dimension_and_what_it_loses_is_said(distribution, value, entry, note):
    found = imported(trial(params={"x": value}, distributions={"x": distribution}))
    assert found.study.arms[0].space == {"x": entry}
    assert [n for n in found.notes if n.startswith("x:")] == ([note] if note else [])


def test_ranges_that_changed_keep_the_widest_and_kinds_that_changed_are_no_dimension():
    narrow, wide = FloatDistribution(0.1, 1.0, log=True), FloatDistribution(0.01, 0.5, log=True)
    found = imported(
        trial(params={"x": 0.2}, distributions={"x": narrow}), trial(params={"x": 0.2}, distributions={"x": wide})
    )
    assert found.study.arms[0].space == {"x": log(0.01, 1.0)}
    assert "x: its range changed between trials; the widest is kept" in found.notes


def test_sqlite_and_journal_files_are_read_and_left_as_they_are(tmp_path):
    database, journal = tmp_path / "old.db", tmp_path / "old.journal"
    backend = optuna.storages.journal.JournalFileBackend(str(journal))
    for storage in (optuna.storages.RDBStorage(f"sqlite:///{database}"), optuna.storages.JournalStorage(backend)):
        study = optuna.create_study(study_name="old", storage=storage)
        study.add_trial(trial(0.25))
        if isinstance(storage, optuna.storages.RDBStorage):
            storage.remove_session()
            storage.engine.dispose()
    for where in (str(database), f"sqlite:///{database}", str(journal)):
        before = {path.name: path.read_bytes() for path in (database, journal)}
        with opened_study(where, "old") as study:
            assert translate(study, Wishes(), BUILT_IN, where).trials[0].value == 0.25
        assert {path.name: path.read_bytes() for path in (database, journal)} == before
        with (
            pytest.raises(InvalidInputError, match="holds no Optuna study 'new'; it holds old"),
            opened_study(where, "new"),
        ):
            pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old.db", "old.journal"]


def test_files_that_hold_no_optuna_studies_are_refused_and_stay_as_they_are(tmp_path):
    other, text = tmp_path / "other.db", tmp_path / "notes.txt"
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE t (x)")
    connection.close()
    text.write_text("hello\n")
    broken = tmp_path / "broken.journal"
    broken.write_text('{"op_code": 77}\n{"op_code": 0}\n')
    before = other.read_bytes()
    cases = [
        (str(tmp_path / "absent.db"), "No such file"),
        (str(other), "holds no Optuna studies that can be read"),
        (str(broken), "cannot be read as a journal of Optuna's"),
        (str(text), "is neither an SQLite file nor a journal of Optuna's"),
        ("mysql://u:secret@h/d", "not from mysql://"),
    ]
    for where, message in cases:
        with pytest.raises(InvalidInputError, match=message) as caught, opened_study(where, "old"):
            pass
        assert "secret" not in str(caught.value)
    assert other.read_bytes() == before
    assert not (tmp_path / "absent.db").exists()


def test_an_address_is_kept_without_its_password():
    assert without_secrets("postgresql://me:secret@host:5432/db?x=1") == "postgresql://host:5432/db?x=1"
    assert without_secrets("postgresql://me:a@/db?host=/s&password=b") == "postgresql:///db?host=/s&password=***"
    assert without_secrets("/tmp/old.db") == "/tmp/old.db"
