"""Seeds: banks that never share a number, and draws that depend on the place alone."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.seeds import (
    INDEX_LIMIT,
    REPLICATE_LIMIT,
    SPEC_SEED_LIMIT,
    draw,
    sampler_seed,
    stream_seed,
    training_seed,
)
from service.domain.trial import Phase
from service.domain.validation import MAX_RUNS

SPEC_SEEDS = (0, 1, 2, SPEC_SEED_LIMIT - 1)
REPLICATES = (0, 1, 2, REPLICATE_LIMIT - 1)
INDICES = (0, 1, 2, INDEX_LIMIT - 1)
places = st.tuples(
    st.integers(0, SPEC_SEED_LIMIT - 1),
    st.integers(0, REPLICATE_LIMIT - 1),
    st.sampled_from(list(Phase)),
    st.integers(0, INDEX_LIMIT - 1),
)


def test_phases_replicates_and_spec_seeds_share_no_training_seed():
    seeds = [training_seed(*place) for place in itertools.product(SPEC_SEEDS, REPLICATES, Phase, INDICES)]
    assert len(set(seeds)) == len(seeds)


def test_whole_banks_of_neighbours_are_disjoint():
    """Every bank is one interval between those of its neighbours, ends included."""
    banks = [
        (training_seed(s, r, phase, 0), training_seed(s, r, phase, INDEX_LIMIT - 1))
        for s, r, phase in itertools.product(SPEC_SEEDS, REPLICATES, Phase)
    ]
    ordered = sorted(banks)
    assert all(low <= high for low, high in ordered)
    assert all(before[1] < after[0] for before, after in itertools.pairwise(ordered))


@given(places, places)
def test_training_seed_is_injective(a, b):
    assert (training_seed(*a) == training_seed(*b)) == (a == b)


@given(places)
def test_training_seed_fits_a_bigint_and_torch(place):
    assert 0 <= training_seed(*place) < 2**60


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ((-1, 0, 0), r"spec_seed must be in \[0, 16777216\), got -1"),
        ((SPEC_SEED_LIMIT, 0, 0), "spec_seed must be in .*, got 16777216"),
        ((0, -1, 0), "replicate must be in .*, got -1"),
        ((0, REPLICATE_LIMIT, 0), r"replicate must be in \[0, 4096\), got 4096"),
        ((0, 0, INDEX_LIMIT), r"index must be in \[0, 1048576\), got 1048576"),
    ],
)
def test_place_outside_its_range_is_refused(place, message):
    spec_seed, replicate, index = place
    with pytest.raises(ValueError, match=message):
        training_seed(spec_seed, replicate, Phase.SEARCH, index)


def test_longest_cell_that_validation_allows_fits_into_a_bank():
    longest_search, most_failures = 100_000, INDEX_LIMIT // 2
    assert longest_search + most_failures < INDEX_LIMIT
    assert MAX_RUNS < INDEX_LIMIT


def test_known_seeds_stay_what_they_are():
    """Changing these changes every study that is ever repeated."""
    assert training_seed(0, 0, Phase.SEARCH, 0) == 0
    assert training_seed(1, 2, Phase.CONFIRM, 3) == ((4096 + 2) * 8 + 2) * 2**20 + 3
    assert draw(0, 0, 0, "lr") == 0.01528454959895209
    assert sampler_seed(0, 0, 0) == 266023869
    assert stream_seed(7, "init") == 87010147976119103


def test_draws_are_uniform_and_differ_by_every_part_of_the_place():
    assert draw(0, 0, 0, "lr") == draw(0, 0, 0, "lr")
    others = {draw(1, 0, 0, "lr"), draw(0, 1, 0, "lr"), draw(0, 0, 1, "lr"), draw(0, 0, 0, "eps")}
    assert len(others | {draw(0, 0, 0, "lr")}) == 5
    values = [draw(3, 1, n, "lr") for n in range(4000)]
    assert all(0 <= value < 1 for value in values)
    tenths = [sum(int(10 * value) == i for value in values) for i in range(10)]
    assert all(330 < count < 470 for count in tenths)


def test_numbers_of_a_place_do_not_run_into_each_other():
    assert draw(1, 11, 1, "x") != draw(11, 1, 1, "x")
    assert sampler_seed(1, 11, 1) != sampler_seed(11, 1, 1)
    assert len({stream_seed(0, purpose) for purpose in ("init", "order", "split", "dropout")}) == 4
