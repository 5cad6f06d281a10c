"""When a number counts as reproduced."""

import dataclasses
import math

import pytest

from service.domain.reproduction import Repeated, judge_reproduction

HERE = {"cpu": "A", "torch": "2.13", "n_threads": 1, "platform": "p"}
STORED = Repeated("finished", 0.4, 0.5, {0: 2.3, 1: 0.9, 2: 0.4}, HERE, "k")


def again(**changes):
    return dataclasses.replace(STORED, **changes)


def test_equal_bits_are_reproduced():
    found = judge_reproduction(STORED, again(environment={**HERE, "platform": "q"}))
    assert (found.is_reproduced, found.is_bitwise, found.is_bitwise_demanded) == (True, True, True)
    assert found.sentence == "Reproduced bit by bit, every epoch and both endpoints."


@pytest.mark.parametrize(
    ("changes", "epoch"),
    [
        ({"epochs": {0: 2.3, 1: math.nextafter(0.9, 1), 2: 0.4}}, 1),
        ({"epochs": {0: 2.3, 1: 0.9}}, 2),
        ({"test_value": math.nextafter(0.5, 1)}, None),
    ],
)
def test_one_bit_is_too_much_on_the_same_machine(changes, epoch):
    found = judge_reproduction(STORED, again(**changes))
    assert (found.is_reproduced, found.first_different_epoch) == (False, epoch)
    assert found.sentence.startswith("Not reproduced: processor, versions and code are the same")
    assert ("in the final endpoint only" in found.sentence) == (epoch is None)


@pytest.mark.parametrize(("factor", "is_reproduced"), [(1.2, True), (1.0 / 1.2, True), (1.4, False)])
def test_another_machine_gets_a_tolerance_that_is_said(factor, is_reproduced):
    found = judge_reproduction(STORED, again(test_value=0.5 * factor, environment={**HERE, "cpu": "B"}))
    assert (found.is_reproduced, found.differing) == (is_reproduced, ("cpu",))
    assert "+28 % are allowed with different cpu" in found.sentence
    assert found.log_ratio == pytest.approx(math.log(factor))


def test_other_code_is_named_and_equal_bits_there_are_said():
    found = judge_reproduction(STORED, again(content_key="other"))
    assert found.differing == ("training code",)
    assert found.sentence == "Reproduced bit by bit, every epoch and both endpoints, with different training code."


def test_a_run_that_diverges_only_once_is_not_reproduced_anywhere():
    lost = {"outcome": "diverged", "value": None, "test_value": None}
    found = judge_reproduction(STORED, again(**lost, environment={**HERE, "cpu": "B"}))
    assert not found.is_reproduced
    assert "the ledger's run finished, this one diverged" in found.sentence


def test_two_runs_that_diverge_alike_are_equal():
    stored = again(outcome="diverged", value=None, test_value=None, epochs={0: 2.3, 1: None})
    assert judge_reproduction(stored, stored).is_bitwise
    other = dataclasses.replace(stored, epochs={0: 2.2, 1: None}, environment={**HERE, "cpu": "B"})
    assert "both diverged" in judge_reproduction(stored, other).sentence
