"""A planted effect of 20 % goes through the whole report, and is found as often as its power says."""

import math

import numpy as np
import pytest
from scipy import stats

from service.domain.comparison import compare_pairs
from service.domain.planning import paired_t_power
from service.domain.ruling import ArmStanding
from tests.unit.domain.study_simulation import SimulatedStudy

EFFECT = math.log(0.8)
SHAPE = {"n_trials": 4, "confirm_seeds": 2, "tuning_sd": 0.08, "curvature": 0.5}
STANDINGS = {name: ArmStanding(name) for name in ("a", "b")}


def comparison(seed, shift, replicates):
    source = SimulatedStudy({"a": 0.0, "b": shift}, seed=seed, replicates=replicates, **SHAPE).report_input()
    return compare_pairs(source, STANDINGS)[0]


@pytest.fixture(scope="module")
def sd():
    """Of replicate means in this simulation, select and its mistakes included: from one study of 400 replicates."""
    return comparison(1, 0.0, 400).measurement.effect.sd


@pytest.mark.parametrize(("shift", "is_planted"), [(EFFECT, True), (0.0, False)])
def test_found_as_often_as_the_power_says_and_no_more_often_where_there_is_none(sd, shift, is_planted):
    n = 300
    kinds = [comparison(100 + seed, shift, 4).verdict.kind for seed in range(n)]
    found = sum(kind.is_better for kind in kinds)
    expected = paired_t_power(EFFECT, sd, 4) if is_planted else 0.025
    low, high = stats.binom.ppf([0.001, 0.999], n, expected)
    assert low <= found <= high
    assert not is_planted or not np.any([kind.is_worse for kind in kinds])
