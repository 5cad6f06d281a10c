"""What the numerics layer sees of an optimizer besides its trajectories."""

import json
import math

import pytest
import torch

from service.domain.checks import CheckVerdict
from tests.unit.check import numerics_support as toys
from workers.check.acknowledgement import with_acknowledgement
from workers.check.interface import NAME, compare_interface, differences, request_of
from workers.check.probe import tensors
from workers.check.probe.notes import Notes


def compared(candidate, baseline="Right", **more):
    config = toys.config_of(interface=True, **more)
    sides = [
        toys.SameProcess(name, role, dict(config.arguments))
        for name, role in ((baseline, "baseline"), (candidate, "candidate"))
    ]
    return compare_interface(*sides, config)


def test_the_same_code_and_other_roundings_show_the_same():
    for name in ("Right", "Reordered"):
        finding = compared(name)
        assert finding.verdict is CheckVerdict.PASS, finding.explanation
        assert finding.data["n_observations"] > 5000


def test_a_refusal_in_other_words_is_a_change_that_can_be_acknowledged():
    finding = compared("OtherWords")
    assert finding.verdict is CheckVerdict.CHANGED
    assert "refusals are worded otherwise" in finding.sentence
    assert "damping=-1 says: " in finding.explanation
    assert "damping is below 0; the baseline: " in finding.explanation


@pytest.mark.parametrize(
    ("candidate", "path"),
    [
        ("Lenient", "damping=-1 raises"),
        ("OtherDefault", "signature.damping"),
        ("WideState", "float32 weight_decay=0.0 heavy=False, 4 steps.state_dict.state.0.buffer is"),
        ("Sharing", "loading float32 into float64 shares memory"),
        ("Amnesiac", "deepcopy, then.weights"),
        ("Waiting", "no device, step raises"),
        ("Older", "unpickled without damping and its default"),
    ],
)
def test_what_is_shown_otherwise_fails_with_the_first_place(candidate, path):
    finding = compared(candidate)
    found = [entry[0] for entry in finding.data["differences"]]
    assert finding.verdict is CheckVerdict.FAIL
    assert any(entry.startswith(path) for entry in found)
    assert "; the baseline: " in finding.explanation


def test_which_of_two_refusals_comes_first_is_told():
    finding = compared("LateChecks")
    assert finding.verdict is CheckVerdict.CHANGED
    assert {entry[0] for entry in finding.data["differences"]} == {"damping=-1.0 and no parameters says"}


def test_a_method_that_the_configuration_names_must_answer_as_before():
    assert compared("Telling", "Telling", methods=["told"]).verdict is CheckVerdict.PASS
    assert compared("TellingLess", "Telling", methods=["told"]).verdict is CheckVerdict.FAIL
    assert compared("TellingLess", "Telling").verdict is not CheckVerdict.FAIL  # words name the class
    assert compared("Telling", "Right", methods=["told"]).verdict is not CheckVerdict.FAIL  # the baseline has none yet


def test_what_the_baseline_does_not_reproduce_itself_is_left_out():
    assert compared("Random", "Random").verdict is CheckVerdict.PASS


def test_an_acknowledged_interface_is_a_change_and_what_trajectories_say_is_not_repeated():
    result = toys.checked("WideState", interface=True)
    assert toys.failing(result).keys() == {NAME}
    changed = {finding.name: finding.verdict for finding in with_acknowledgement(result).findings}
    assert changed[NAME] is CheckVerdict.CHANGED
    assert toys.failing(toys.checked("Coarse", interface=True)).keys() == {"float32-trajectories"}


def leaves(value, within=0.0):
    notes = Notes()
    notes.note("it", value, within)
    return notes.leaves


@pytest.mark.parametrize(
    ("a", "b", "is_equal"),
    [
        (torch.ones(3), torch.ones(3) * (1 + 1e-5), True),
        (torch.ones(3), torch.ones(3) * (1 + 1e-3), False),
        (torch.ones(3).double(), torch.ones(3), False),
        (torch.tensor([math.nan, math.inf, 1.0]), torch.tensor([math.nan, math.inf, 1.0]), True),
        (torch.tensor([math.nan, 1.0]), torch.tensor([math.inf, 1.0]), True),
        (torch.tensor([1.0]), torch.tensor([math.inf]), False),
        (torch.tensor([1e300, 1.0]).double(), torch.tensor([1e300, 1.0]).double(), True),
        (torch.zeros(2), torch.full((2,), 1e-30), False),
        (torch.ones(2, 3), torch.ones(3, 2).mT, False),
        (torch.ones(2).to_sparse(), torch.ones(2), False),
        ([1, 2], (1, 2), False),
        (1, 1.0, False),
        (True, 1, False),
        ({"a": None}, {"b": None}, False),
    ],
)
def test_layout_type_and_numbers_are_compared(a, b, is_equal):
    assert (differences(leaves(a), leaves(b)) == []) is is_equal
    assert differences(leaves(a), leaves(a)) == []


def test_measured_numbers_agree_up_to_roundings_and_given_ones_exactly():
    near = differences(leaves(0.1), leaves(0.1 + 1e-12))
    assert near == ["it"]
    assert differences(leaves(0.1, 1e-5), leaves(0.1 + 1e-12, 1e-5)) == []
    assert differences(leaves(math.inf, 1e-5), leaves(1.0, 1e-5)) == ["it"]
    assert differences(leaves(math.nan, 1e-5), leaves(math.nan, 1e-5)) == []


def test_all_that_is_observed_can_be_sent_to_another_process():
    config = toys.config_of(interface=True)
    side = toys.SameProcess("Right", "baseline", dict(config.arguments))
    leaves_of_states = side.call(NAME, timeout_s=60, **request_of(config), looks=["states"])["leaves"]
    assert any(" on meta" in leaf for leaf in leaves_of_states.values() if isinstance(leaf, str))
    assert json.dumps(tensors.encode(leaves_of_states))


def test_only_a_group_without_parameters_fails_by_accident():
    config = toys.config_of(interface=True)
    side = toys.SameProcess("Right", "baseline", dict(config.arguments))
    found = side.call(NAME, timeout_s=60, **request_of(config), looks=["constructors"])["leaves"]
    about_parameters = {path: leaf for path, leaf in found.items() if path.startswith("parameters: ")}
    accidents = [path for path, leaf in about_parameters.items() if leaf == "by accident"]
    assert len(about_parameters) > 50
    assert accidents == ["parameters: a group without params raises"]


def test_names_that_are_an_optimizers_own_business_are_not_observed():
    assert compared("Private").verdict is not CheckVerdict.FAIL
