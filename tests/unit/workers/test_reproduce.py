"""A trial runs again from what the API shows of it, in a process that knows neither ledger nor token."""

import copy
import json

import pytest

from service.errors import TangentError
from service.reproducing import reproduce, run_document
from workers.environment import environment
from workers.reproduce import repeat, stored_run
from workers.run import Run
from workers.training import configure_torch

SPEC = {"workload": {"name": "digits-mlp", "options": {"epochs": 2, "width": 8, "batch_size": 64}}, "device": "cpu"}
PARAMS = {"lr": 0.01, "weight_decay": 0.1, "one_minus_beta1": 0.1, "delta": 0.1, "wd_ratio": 0.1}


@pytest.fixture(scope="module")
def trial():
    """As the API shows a finished confirm run that was made here."""
    configure_torch(1)
    options = SPEC["workload"]["options"]
    found = repeat(Run("digits-mlp", options, "AdamP", PARAMS, 5, reads_test_set=True), "cpu", ())
    attempt = {"outcome": "finished", "environment": environment()}
    measurements = [{"epoch": epoch, "value": value} for epoch, value in found.epochs.items()]
    return {
        "number": 3,
        "phase": "confirm",
        "state": "COMPLETE",
        "optimizer": "AdamP",
        "params": PARAMS,
        "seed": 5,
        "outcome": found.outcome,
        "value": found.value,
        "test_value": found.test_value,
        "attempts": [attempt],
        "measurements": measurements,
        "content_key": found.content_key,
    }


class Ledger:
    """What `reproduce` asks of a client."""

    def __init__(self, trial, spec=SPEC):
        self.trial_of, self.spec = trial, spec

    def show(self, study_id):
        return {"id": study_id, "spec": self.spec}

    def trial(self, study_id, number):
        assert (study_id, number) == (1, 3)
        return self.trial_of


def test_the_same_machine_gives_the_same_bits(trial):
    answer, code = reproduce(Ledger(trial), 1, 3, 0.25)
    assert code == 0
    assert answer["reproduction"]["is_bitwise"]
    assert answer["reproduction"]["is_bitwise_demanded"]
    assert answer["result"]["test_value"] == trial["test_value"]


def test_a_pruned_trial_runs_to_one_epoch_after_its_pruning_and_has_the_value_it_was_pruned_at():
    configure_torch(1)
    options = {**SPEC["workload"]["options"], "epochs": 5}
    run = Run("digits-mlp", options, "AdamP", PARAMS, 5)
    found, whole = (repeat(run, "cpu", (), pruned_at) for pruned_at in (2, None))
    assert (found.outcome, whole.outcome) == ("pruned", "finished")
    assert list(found.epochs) == [0, 1, 2, 3]
    assert found.epochs.items() <= whole.epochs.items()
    assert found.value == whole.epochs[2]


def test_a_pruned_trial_is_reproduced_bit_by_bit(trial):
    spec = {**SPEC, "workload": {"name": "digits-mlp", "options": {**SPEC["workload"]["options"], "epochs": 5}}}
    run = Run("digits-mlp", spec["workload"]["options"], "AdamP", PARAMS, 5)
    found = repeat(run, "cpu", (), pruned_at=2)
    pruned = {
        **trial,
        "phase": "search",
        "outcome": "pruned",
        "value": found.value,
        "test_value": None,
        "attempts": [{"outcome": "pruned", "environment": environment()}],
        "measurements": [{"epoch": epoch, "value": value} for epoch, value in found.epochs.items()],
        "content_key": found.content_key,
        "prune_decision": {"epoch": 2, "prune": True, "value": found.value},
    }
    answer, code = reproduce(Ledger(pruned, spec), 1, 3, 0.25)
    assert (code, answer["reproduction"]["is_bitwise"]) == (0, True)
    assert answer["result"]["outcome"] == "pruned"
    assert reproduce(Ledger({**pruned, "value": 9.9}, spec), 1, 3, 0.25)[1] == 1


def test_a_trial_without_result_or_of_a_foreign_optimizer_says_so(trial):
    with pytest.raises(TangentError, match="has no result to reproduce: it is running"):
        reproduce(Ledger({**trial, "outcome": None, "state": "RUNNING"}), 1, 3, 0.25)
    with pytest.raises(TangentError, match="trial 3 of study 1 cannot run here"):
        reproduce(Ledger({**trial, "optimizer": "my.lib:Lion"}), 1, 3, 0.25)


def test_the_document_survives_json(trial):
    document = run_document({"spec": SPEC}, copy.deepcopy(trial), 0.25)
    stored = stored_run(json.loads(json.dumps(document))["stored"])
    assert stored.epochs == {entry["epoch"]: entry["value"] for entry in trial["measurements"]}
    assert document["run"]["reads_test_set"]
