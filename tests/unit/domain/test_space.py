"""Dimensions: every quantile lies in the range, the scales spread as they say, the forms round-trip."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.space import Dimension, Scale, fixed, searched, space_from_dict, space_to_dict
from service.search import distribution_of

quantiles = st.floats(0, 1, exclude_max=True)
positive = st.floats(1e-12, 1e12)
scalars = st.one_of(st.booleans(), st.integers(-100, 100), st.floats(-10, 10), st.text(max_size=5))


@st.composite
def dimensions(draw):
    scale = draw(st.sampled_from(list(Scale)))
    if scale is Scale.CHOICE:
        return Dimension(scale, choices=tuple(draw(st.lists(st.text(max_size=3), min_size=1, unique=True))))
    if scale is Scale.INT:
        low, high = sorted(draw(st.lists(st.integers(-(10**6), 10**6), min_size=2, max_size=2, unique=True)))
        return Dimension(scale, float(low), float(high))
    ends = positive if scale is Scale.LOG else st.floats(-1e12, 1e12)
    low, high = sorted(draw(st.lists(ends, min_size=2, max_size=2, unique=True)))
    return Dimension(scale, low, high)


@given(dimensions(), quantiles)
def test_every_quantile_is_a_value_that_optuna_takes_too(dimension, u):
    value = dimension.at(u)
    distribution = distribution_of(dimension)
    assert distribution._contains(distribution.to_internal_repr(value))
    if dimension.scale is not Scale.CHOICE:
        assert dimension.low <= value <= dimension.high


@pytest.mark.parametrize("low", [1e-4, 1e-3, 0.1, 1e-6, 3e-7])
def test_lowest_quantile_of_a_log_range_is_its_end(low):
    assert Dimension(Scale.LOG, low, 1.0).at(0.0) == pytest.approx(low, rel=1e-15)
    assert Dimension(Scale.LOG, low, 1.0).at(0.0) >= low
    assert Dimension(Scale.LOG, low, 1.0).at(1 - 2**-53) <= 1.0


@given(dimensions(), quantiles, quantiles)
def test_a_larger_quantile_gives_no_smaller_value(dimension, u, v):
    if dimension.scale is not Scale.CHOICE:
        low, high = sorted((u, v))
        assert dimension.at(low) <= dimension.at(high)


def test_middle_of_a_log_range_is_the_geometric_mean():
    assert Dimension(Scale.LOG, 1e-4, 1e-2).at(0.5) == pytest.approx(1e-3)
    assert Dimension(Scale.UNIFORM, 1.0, 3.0).at(0.5) == 2.0


def test_widest_uniform_range_does_not_overflow():
    assert math.isfinite(Dimension(Scale.UNIFORM, -1.7e308, 1.7e308).at(0.9))


def test_int_has_both_ends_with_equal_chances():
    values = [Dimension(Scale.INT, 1.0, 3.0).at(i / 300) for i in range(300)]
    assert [values.count(value) for value in (1, 2, 3)] == [100, 100, 100]
    assert all(type(value) is int for value in values)


def test_choices_come_in_their_order_with_equal_chances():
    choice = Dimension(Scale.CHOICE, choices=("a", "b"))
    assert [choice.at(u) for u in (0.0, 0.49, 0.5, 0.99)] == ["a", "a", "b", "b"]


@given(dimensions())
def test_dimension_round_trips(dimension):
    assert Dimension.from_dict(dimension.to_dict()) == dimension
    assert dimension.problems() == []


@given(st.dictionaries(st.text(min_size=1, max_size=5), st.one_of(dimensions(), scalars), max_size=4))
def test_space_round_trips_and_splits(space):
    assert space_from_dict(space_to_dict(space)) == space
    assert {**searched(space), **fixed(space)} == space


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({}, r"a range is \{scale: \[low, high\]\} with one scale of log, uniform, int, choice; got \{\}"),
        ({"log": [1, 2], "int": [1, 2]}, "with one scale of"),
        ({"logarithmic": [1, 2]}, "one scale of log, uniform, int, choice; got .*logarithmic"),
        ({"log": 3}, "log takes a list, got 3"),
        ({"log": "ab"}, "log takes a list, got 'ab'"),
        ({"log": [1]}, r"log takes two numbers \[low, high\], got \[1\]"),
        ({"uniform": [1, 2, 3]}, "uniform takes two numbers"),
        ({"uniform": [True, 2]}, "uniform takes two numbers"),
        ({"int": ["1", "2"]}, "int takes two numbers"),
        ({"int": [0, 10**400]}, "int takes numbers that fit into 64 bits"),
    ],
)
def test_form_that_is_no_range_is_refused(entry, message):
    with pytest.raises(ValueError, match=message):
        Dimension.from_dict(entry)


@pytest.mark.parametrize(
    ("dimension", "message"),
    [
        (Dimension(Scale.LOG, 0.0, 1.0), "a log range needs ends above 0, got [0.0, 1.0]"),
        (Dimension(Scale.LOG, -1.0, 1.0), "a log range needs ends above 0, got [-1.0, 1.0]"),
        (Dimension(Scale.LOG, 1.0, 1.0), "the lower end must be below the upper end, got [1.0, 1.0]"),
        (Dimension(Scale.UNIFORM, 2.0, 1.0), "the lower end must be below the upper end, got [2.0, 1.0]"),
        (Dimension(Scale.UNIFORM, math.nan, 1.0), "the ends must be finite, got [nan, 1.0]"),
        (Dimension(Scale.LOG, 1.0, math.inf), "the ends must be finite, got [1.0, inf]"),
        (Dimension(Scale.INT, 0.5, 2.0), "an int range needs whole ends, got [0.5, 2.0]"),
        (Dimension(Scale.CHOICE), "choice needs at least one value"),
        (Dimension(Scale.CHOICE, choices=(1, 2, 1.0)), "choice has 1.0 twice; each value is as likely as the others"),
    ],
)
def test_unsound_range_says_what_is_wrong(dimension, message):
    assert dimension.problems() == [message]
