"""Limits of looking at data while they come in, against tables and simulation; decisions; repeated intervals."""

import math

import numpy as np
import pytest
from scipy import stats

from service.domain.sequential import (
    Decision,
    Plan,
    decide,
    decide_superiority,
    limits,
    nominal_levels,
    repeated_interval,
    spent,
)

LOOKS = (4, 8, 12, 16, 20, 24)
PLAN = Plan(LOOKS)
MARGIN = 0.02
PASS_TABLE = (6.954, 3.477, 2.800, 2.426, 2.143, 1.892)
FAIL_TABLE = (17.52, 5.849, 4.433, 3.845, 3.484, 3.216)


def rectangle_limits(alpha, cell=0.01, reach=16.0):
    """The same recursion in another way: sums on a grid, convolved; its tail ends half a cell late."""
    grid = np.arange(-int(reach / cell), int(reach / cell) + 1) * cell
    step = stats.norm.pdf(grid) * cell
    density, found, before = step / cell, [], 0.0
    for k, n in enumerate(LOOKS, start=1):
        now = spent(k / len(LOOKS), alpha)
        tail = np.cumsum(density[::-1])[::-1] * cell
        limit = np.interp(before - now, -tail, grid)
        before = now
        found.append(float(stats.t.isf(stats.norm.sf(limit / math.sqrt(k)), n - 1)))
        kept = np.where(grid < limit, density, 0.0)
        size = 2 * len(grid)
        whole = np.fft.irfft(np.fft.rfft(kept, size) * np.fft.rfft(step, size), size)
        density = whole[len(grid) // 2 : len(grid) // 2 + len(grid)]
    return found


@pytest.mark.parametrize(("alpha", "table"), [(0.05, PASS_TABLE), (0.01 / 3, FAIL_TABLE)])
def test_limits_are_the_tables_once_the_tables_grid_is_taken_out(alpha, table):
    assert rectangle_limits(alpha) == pytest.approx(table, rel=1e-3)
    assert rectangle_limits(alpha, cell=0.0005) == pytest.approx(limits(LOOKS, alpha), rel=1e-3)
    assert limits(LOOKS, alpha) == pytest.approx(table, rel=7e-3)


@pytest.mark.parametrize(("looks", "alpha"), [((24,), 0.05), ((4, 8), 0.01), (LOOKS, 0.05)])
def test_the_first_look_spends_its_share_exactly(looks, alpha):
    assert nominal_levels(looks, alpha)[0] == pytest.approx(spent(looks[0] / looks[-1], alpha), rel=1e-12)
    assert limits(looks, alpha)[0] == pytest.approx(stats.t.isf(spent(looks[0] / looks[-1], alpha), looks[0] - 1))


def test_one_look_is_the_plain_t_test():
    assert limits((10,), 0.025) == pytest.approx([stats.t.isf(0.025, 9)])


def test_gamma_zero_spends_in_proportion_to_the_pairs():
    assert spent(0.25, 0.05, gamma=0.0) == pytest.approx(0.0125)
    assert spent(0.25, 0.05, gamma=1e-9) == pytest.approx(0.0125)


def test_two_looks_against_the_bivariate_normal():
    first, second = stats.norm.isf(nominal_levels((10, 20), 0.025))
    pair = stats.multivariate_normal(cov=[[1.0, math.sqrt(0.5)], [math.sqrt(0.5), 1.0]])
    assert 1 - pair.cdf([first, second]) == pytest.approx(0.025, abs=1e-5)


def test_all_looks_together_err_as_often_as_was_allowed_with_a_known_spread():
    draws = np.random.default_rng(1).standard_normal((200_000, 24)).cumsum(axis=1)
    z = np.stack([draws[:, n - 1] / math.sqrt(n) for n in LOOKS], axis=1)
    crossed = (z >= stats.norm.isf(nominal_levels(LOOKS, 0.05))).any(axis=1).mean()
    assert crossed == pytest.approx(0.05, abs=0.0015)


@pytest.mark.parametrize(("alpha", "n"), [(0.05, 100_000), (0.01 / 3, 400_000)])
def test_t_quantiles_err_at_most_an_eighth_more_often_than_was_allowed(alpha, n):
    crossed = 0
    at = np.array(limits(LOOKS, alpha))
    for seed in range(n // 50_000):
        draws = np.random.default_rng(seed).standard_normal((50_000, 24))
        crossed += int((t_at_looks(draws) >= at).any(axis=1).sum())
    assert 0.8 * alpha < crossed / n < 1.125 * alpha


def t_at_looks(draws):
    return np.stack(
        [draws[:, :n].mean(axis=1) / draws[:, :n].std(axis=1, ddof=1) * math.sqrt(n) for n in LOOKS], axis=1
    )


def run(draws, plan=PLAN, margin=MARGIN):
    for n in plan.looks:
        decision = decide(list(draws[:n]), margin, plan)
        if decision is not Decision.UNDECIDED:
            return decision, n
    return decision, n


def outcomes(shift, sd, n_runs=600, plan=PLAN):
    rng = np.random.default_rng(7)
    runs = [run(rng.normal(shift, sd, plan.looks[-1]), plan) for _ in range(n_runs)]
    return [decision for decision, _ in runs], float(np.mean([n for _, n in runs]))


def test_nothing_changed_passes_after_few_pairs_and_never_fails():
    decisions, pairs = outcomes(0.0, 0.4 * MARGIN)
    assert decisions.count(Decision.EQUIVALENT) == len(decisions)
    assert 4 <= pairs < 9


def test_a_true_loss_of_the_margin_rarely_passes():
    decisions, _ = outcomes(MARGIN, MARGIN)
    assert decisions.count(Decision.EQUIVALENT) + decisions.count(Decision.NOT_WORSE) <= 0.08 * len(decisions)
    assert decisions.count(Decision.WORSE) > 0.8 * len(decisions)


def test_a_loss_of_three_margins_always_fails_and_a_gain_of_three_is_better():
    assert set(outcomes(3 * MARGIN, MARGIN)[0]) == {Decision.WORSE}
    assert set(outcomes(-3 * MARGIN, MARGIN)[0]) == {Decision.BETTER}


def test_the_anytime_plan_decides_alike_only_later():
    anytime = Plan((4, 8, 12, 16, 20, 24, 40), is_anytime=True)
    decisions, pairs = outcomes(0.0, 0.4 * MARGIN, n_runs=200, plan=anytime)
    assert set(decisions) == {Decision.EQUIVALENT}
    assert pairs > outcomes(0.0, 0.4 * MARGIN, n_runs=200)[1]
    assert anytime.limits_at(13).fail > 0


def test_a_difference_that_is_small_for_certain_passes_though_it_is_not_zero():
    assert decide([0.001, 0.00101, 0.00099, 0.00102], MARGIN, PLAN) is Decision.EQUIVALENT


@pytest.mark.parametrize(
    ("difference", "decision"),
    [(0.0, Decision.EQUIVALENT), (0.01, Decision.EQUIVALENT), (0.03, Decision.WORSE), (-0.03, Decision.BETTER)],
)
def test_differences_without_spread_are_decided_by_the_margin(difference, decision):
    assert decide([difference] * 4, MARGIN, PLAN) is decision


def test_a_loss_excluded_at_the_last_look_is_not_worse():
    draws = [-0.018 + 0.03 * (-1) ** k for k in range(24)]
    assert decide(draws[:20], MARGIN, PLAN) is Decision.UNDECIDED
    assert decide(draws, MARGIN, PLAN) is Decision.NOT_WORSE


def test_superiority_is_not_claimed_more_often_than_allowed_and_is_found_where_it_is():
    looks, rng = (5, 8, 12), np.random.default_rng(3)

    def ever(shift):
        draws = rng.normal(shift, 1.0, 12)
        return any(decide_superiority(list(draws[:n]), looks) is not Decision.UNDECIDED for n in looks)

    assert np.mean([ever(0.0) for _ in range(1000)]) < 0.07
    assert np.mean([ever(2.0) for _ in range(200)]) > 0.98


def test_superiority_is_undecided_where_no_error_can_be_estimated():
    assert decide_superiority([0.5] * 5, (5, 8)) is Decision.UNDECIDED


def test_repeated_intervals_cover_at_all_looks_together():
    rng = np.random.default_rng(11)

    def covers_always():
        draws = rng.normal(1.0, 1.0, 24)
        found = [repeated_interval(list(draws[:n]), PLAN) for n in LOOKS]
        return all(interval.lower <= 1.0 <= interval.upper for interval in found)

    assert 0.93 < np.mean([covers_always() for _ in range(1500)]) < 0.97


@pytest.mark.parametrize("looks", [(), (1, 4), (4, 4), (8, 4)])
def test_impossible_looks_are_refused(looks):
    with pytest.raises(ValueError, match="looks must be increasing numbers of pairs from 2"):
        limits(looks, 0.05)


def test_an_impossible_alpha_a_look_out_of_plan_and_one_difference_are_refused():
    with pytest.raises(ValueError, match=r"alpha must be in \(0, 0.5\), got 0.7"):
        limits(LOOKS, 0.7)
    with pytest.raises(ValueError, match="5 pairs are no planned look; the looks are 4, 8, 12, 16, 20, 24"):
        decide([0.1, 0.2, 0.1, 0.2, 0.1], MARGIN, PLAN)
    with pytest.raises(ValueError, match="at least 2 differences, got 1"):
        decide([0.1], MARGIN, PLAN)
