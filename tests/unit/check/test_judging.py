import math

import pytest
import torch

from workers.check.judging import HUGE, displacement_errors, judge_exact
from workers.check.probe.cases import Case

CASE = Case(steps=2, shapes=((2,),))


def result(*rows):
    return {"weights": torch.tensor(rows, dtype=torch.float64), "returned": [[None], [None]]}


def test_errors_are_relative_to_the_largest_displacement_so_far():
    ref = torch.tensor([[0.0], [4.0], [1.0]], dtype=torch.float64)
    got = torch.tensor([[0.0], [5.0], [3.0]], dtype=torch.float64)
    assert displacement_errors(ref, got).tolist() == [0.25, 0.5]


def test_equal_infinities_and_nans_differ_by_nothing_and_others_by_much():
    ref = torch.tensor([[0.0, 0.0], [math.inf, math.nan]], dtype=torch.float64)
    assert displacement_errors(ref, ref.clone()).tolist() == [0.0]
    got = torch.tensor([[0.0, 0.0], [1.0, 2.0]], dtype=torch.float64)
    assert displacement_errors(ref, got).tolist() == [HUGE]


@pytest.mark.parametrize(("size", "is_failed"), [(1e-12, False), (1e-10, True)])
def test_an_error_fails_over_the_tolerance(size, is_failed):
    golden = result([0.0, 0.0], [1.0, 0.0], [1.0, 1.0])
    found = result([0.0, 0.0], [1.0, 0.0], [1.0, 1.0 + size])
    (unit,) = judge_exact(0, CASE, golden, found, 1e-11)
    assert unit.is_failed is is_failed
    assert unit.first_step == (2 if is_failed else None)


def test_where_steps_are_smaller_than_roundings_the_roundings_are_the_limit():
    golden = result([1.0, 1.0], [1.0 + 2**-40, 1.0], [1.0 + 2**-39, 1.0])
    found = result([1.0, 1.0], [1.0 + 2**-40 + 2**-52, 1.0], [1.0 + 2**-39, 1.0])
    (unit,) = judge_exact(0, CASE, golden, found, 1e-11)
    assert unit.error > 1e-11
    assert not unit.is_failed


def test_what_the_baseline_refuses_must_be_refused_and_what_it_steps_must_be_stepped():
    refusal = {"raised": "ValueError", "sentence": "ValueError: no"}
    steps = result([0.0, 0.0], [1.0, 0.0], [1.0, 1.0])
    assert not judge_exact(0, CASE, refusal, refusal, 1e-11)[0].is_failed
    assert "it raises ValueError: no" in judge_exact(0, CASE, steps, refusal, 1e-11)[0].note
    assert "the baseline refuses this" in judge_exact(0, CASE, refusal, steps, 1e-11)[0].note
