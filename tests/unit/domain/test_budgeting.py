"""Budget first: the plan fits, is the best of all that fit, and detects what it says."""

import math

import numpy as np
import pytest
from scipy import stats

from service.domain.budgeting import Shape, plan_budget, plan_sentences, smallest_detectable
from service.domain.catalog import BUILT_IN
from service.domain.cost import TYPICAL, Calibration, Spread, estimate_cost
from service.domain.planning import paired_t_power
from service.domain.statistics import estimate_effect
from service.domain.validation import study_from_file
from service.domain.verdict import kind_from_table
from service.studyfile import example

SHAPE = Shape(n_arms=2, n_pairs=1, trials=12, select_runs=9)


def test_the_plan_fits_and_no_other_detects_less():
    plan = plan_budget(SHAPE, TYPICAL, 2.0, 3600.0)
    assert plan.device_s <= 3600
    assert plan.n_runs == 2 * plan.replicates * (12 + 9 + plan.seeds)
    for seeds in range(1, 11):
        replicates = int(3600 / 2 / (2 * (12 + 9 + seeds)))
        other = math.expm1(-smallest_detectable(TYPICAL.sd(seeds), replicates, 0.05))
        assert plan.detectable >= other - 1e-4


def test_what_it_detects_it_detects_with_the_stated_power():
    """Simulated: the verdict is "better" in eight of ten studies of that size and effect."""
    plan = plan_budget(SHAPE, TYPICAL, 2.0, 3600.0)
    rate = detected(math.log1p(plan.detectable), TYPICAL.sd(plan.seeds), plan.replicates)
    low, high = stats.binom.ppf([0.005, 0.995], 2000, 0.8) / 2000
    assert low <= rate <= high


def test_a_planted_effect_of_20_percent_is_found_as_often_as_the_cost_says():
    study = study_from_file({**example("digits-cnn"), "compare": [["adamw", "adamp"]]}, BUILT_IN)
    cost = estimate_cost(study, BUILT_IN.workloads["digits-cnn"])
    stated = cost.power[-1]
    assert stated.change == -0.2
    rate = detected(math.log(0.8), cost.assumed_sd, study.replicates)
    low, high = stats.binom.ppf([0.005, 0.995], 2000, stated.power) / 2000
    assert low <= rate <= high


def detected(effect, sd, n):
    draws = np.random.default_rng(7).normal(effect, sd, (2000, n))
    effects = [estimate_effect(row.tolist()) for row in draws]
    return np.mean([kind_from_table(e, e.p_value, 0.05).is_better for e in effects])


@pytest.mark.parametrize("replicates", [3, 5, 30])
def test_smallest_detectable_has_power_point_eight(replicates):
    assert paired_t_power(smallest_detectable(0.12, replicates, 0.025), 0.12, replicates, 0.025) == pytest.approx(0.8)


def test_more_hours_detect_less_and_more_noise_more():
    plans = [plan_budget(SHAPE, TYPICAL, 2.0, 3600.0 * h) for h in (0.2, 1, 8)]
    assert plans[0].detectable < plans[1].detectable < plans[2].detectable < 0
    assert plan_budget(SHAPE, Spread(0.3, 0.2), 2.0, 3600.0).detectable < plans[1].detectable


def test_noisy_seeds_get_more_of_them():
    quiet = plan_budget(SHAPE, Spread(0.01, 0.2), 2.0, 3600.0)
    noisy = plan_budget(SHAPE, Spread(0.5, 0.01), 2.0, 3600.0)
    assert quiet.seeds == 1
    assert noisy.seeds == 10


def test_trials_give_way_before_replicates_and_then_there_is_no_plan():
    short = plan_budget(SHAPE, TYPICAL, 1.0, 2 * 3 * (8 + 9 + 1) + 1)
    assert (short.replicates, short.trials, short.seeds) == (3, 8, 1)
    assert "T is 8 instead of 12" in plan_sentences(short, SHAPE, 2)[-1]
    assert plan_budget(SHAPE, TYPICAL, 1.0, 2 * 3 * (4 + 9 + 1) - 1) is None


def test_the_sentences_say_what_to_run_and_what_it_shows():
    first, second = plan_sentences(plan_budget(SHAPE, TYPICAL, 2.0, 8 * 3600.0), SHAPE, 4)
    assert "T = 12 search trials per cell" in first
    assert "on 4 slots" in first
    assert "with probability 0.8 is" in second


def test_a_calibration_replaces_the_catalogs_guess_and_the_typical_spread():
    study = study_from_file(example("digits-cnn"), BUILT_IN)
    cost = estimate_cost(study, BUILT_IN.workloads["digits-cnn"], Calibration(3.0, 40, Spread(0.1, 0.05, 2)))
    assert cost.device_s == 3.0 * study.n_runs
    assert cost.n_measured == 40
    assert cost.assumed_sd == pytest.approx(math.sqrt(0.05**2 + 0.1**2 / study.confirm_seeds))
    assert TYPICAL.sd(5) == pytest.approx(0.12, abs=0.001)
