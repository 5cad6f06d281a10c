"""Counters see one operator, one read and one tensor more, wherever they hide."""

import functools
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from service.domain.checks import CheckVerdict
from workers.check.probe.counters import counters
from workers.check.probe.session import maker
from workers.check.probe.subjects import SUBJECTS, Subject
from workers.check.speed import compare_counts

PLANTED = Path(__file__).with_name("planted.py")
ASKED = {"subject": "small", "steps": 4, "seed": 0, "device": "cpu"}
ARGUMENTS = {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.1, "foreach": False}
N_TENSORS = len(SUBJECTS["small"])


@functools.cache
def counted(name, **arguments):
    return counters(maker(f"{PLANTED}:{name}", {**ARGUMENTS, **arguments}), ASKED)


def test_counts_are_exact_and_repeat():
    first, second = counted("Plain"), counted("Plain", maximize=False)  # another call, nothing else
    assert first == second
    assert first["operators"] == {"add": 56, "mul_": 56, "add_": 112}
    assert first["reads"] == {}
    assert first["state_bytes"] == {"momentum_buffer": 4 * first["n_parameters"]}
    assert first["launches"] is None


def test_one_more_state_tensor_is_found_under_its_name():
    found = counted("Shadow")
    assert found["state_bytes"] == {"momentum_buffer": 244200, "shadow": 244200}


def test_a_tensor_kept_elsewhere_is_found():
    assert counted("Hoarder")["state_bytes"]["(elsewhere)"] == 4000


def test_tensors_without_memory_that_others_keep_are_no_concern():
    with FakeTensorMode():
        kept = torch.ones(3)
    assert counted("Plain", nesterov=False) == counted("Plain")
    assert kept.shape == (3,)


def test_a_hidden_item_is_a_read():
    assert counted("Peeking")["reads"] == {"_local_scalar_dense": 4}


def test_a_read_that_passes_no_operator_is_one_too():
    assert counted("Listing")["reads"] == {"tolist": 4}
    assert counted("Listing")["operators"] == counted("Plain")["operators"]


def test_fewer_operators_are_counted_as_fewer():
    assert sum(counted("Thrifty")["operators"].values()) == sum(counted("Plain")["operators"].values()) - 4 * N_TENSORS


def test_operators_called_from_c_are_counted():
    loop, foreach = counted("Plain"), counted("Plain", foreach=True)
    assert any(name.startswith("_foreach") for name in foreach["operators"])
    assert sum(foreach["operators"].values()) < sum(loop["operators"].values())


def test_the_subjects_weights_move_and_do_not_run_away():
    subject = Subject(maker("torch.optim:SGD", {"lr": 1e-3}), "small", 0, "cpu")
    before = [parameter.detach().clone() for parameter in subject.parameters]
    for _ in range(20):
        subject.turn_gradients()
        subject.steps(10)
    for parameter, start in zip(subject.parameters, before, strict=True):
        assert not torch.equal(parameter, start)
        assert (parameter - start).abs().max() < 0.5


@pytest.mark.parametrize(
    ("after", "verdict", "words"),
    [
        ({"add": 20}, CheckVerdict.PASS, "2 operators a step, as the baseline"),
        ({"mul": 20}, CheckVerdict.PASS, "2 operators a step, as the baseline"),
        ({"add": 30}, CheckVerdict.FAIL, "3 operators a step, the baseline 2: more is a loss"),
        ({"add": 10}, CheckVerdict.CHANGED, "1 operators a step, the baseline 2: an improvement; update the baseline"),
    ],
)
def test_equal_passes_more_fails_and_less_asks_for_a_new_baseline(after, verdict, words):
    finding = compare_counts("aten-operators", "operators a step", {"add": 20}, after, 10)
    assert (finding.verdict, finding.sentence) == (verdict, words)


def test_a_difference_names_its_kinds_the_largest_first():
    finding = compare_counts("x", "operators a step", {"add": 20, "mul": 5}, {"add": 20, "mul": 10, "item": 50}, 10)
    assert finding.explanation == "by kind: item 0 to 5; mul 0.5 to 1"
