"""The rule for ranges that are too narrow: its false alarms, its power, its worked cases."""

import math

import numpy as np
import pytest
from scipy import stats

from service.domain.ranges import edge_trend, find_edges, position
from service.domain.report_input import ArmInput, Cell
from service.domain.space import Dimension, Scale, log
from service.domain.trial import Outcome, Phase, TrialRecord, TrialState

DEAD = ("weight_decay", "one_minus_beta1")
ARM = ArmInput(
    "adamp",
    "AdamP",
    "adam",
    {"lr": {"log": [1e-4, 1e-1]}, "weight_decay": {"log": [1e-4, 1.0]}, "one_minus_beta1": {"log": [2e-2, 0.5]}},
)


def cell(replicate, positions, values, winner=None):
    """A cell whose search trials lie at `positions` (one row of shares of the ranges per trial)."""
    names = ("lr", *DEAD)
    dimensions = ARM.dimensions
    trials = []
    for i, (row, value) in enumerate(zip(positions, values, strict=True)):
        params = {name: dimensions[name].at(float(u)) for name, u in zip(names, row, strict=True)}
        trials.append(trial(i, replicate, Phase.SEARCH, i, params, value))
    chosen = int(np.argmin(values)) if winner is None else winner
    trials.append(trial(len(trials), replicate, Phase.CONFIRM, chosen, trials[chosen].params, 0.3))
    return Cell(replicate, tuple(trials))


def trial(number, replicate, phase, config, params, value):
    outcome = Outcome.DIVERGED if value is None else Outcome.FINISHED
    value = None if value is None else float(value)
    place = (number, "adamp", replicate, phase, number, config, 0, number, TrialState.COMPLETE, params)
    return TrialRecord(*place, outcome=outcome, value=value)


def simulated_arm(rng, n_replicates, optimum, n_trials=12, noise=0.1, curvature=4.0):
    """A search whose endpoint depends on lr alone; the other dimensions are dead."""
    cells = []
    for replicate in range(n_replicates):
        u = rng.random((n_trials, 3))
        values = np.exp(curvature * (u[:, 0] - optimum) ** 2 + rng.normal(0, noise, n_trials))
        cells.append(cell(replicate, u, values))
    return cells


def is_narrow(cells):
    return any(edge.is_narrow for edge in find_edges(ARM, cells))


class TestFalseAlarms:
    @pytest.mark.parametrize("n_replicates", [2, 3, 5, 8])
    def test_at_most_one_sound_study_in_twenty_is_downgraded(self, n_replicates):
        rng = np.random.default_rng(n_replicates)
        n_studies = 150
        optima = rng.uniform(0.2, 0.8, n_studies)
        alarms = sum(
            any(is_narrow(simulated_arm(rng, n_replicates, optimum)) for _arm in range(2)) for optimum in optima
        )
        assert alarms <= 0.05 * n_studies

    @pytest.mark.parametrize("n_replicates", [2, 3, 4, 5, 10])
    def test_winners_that_are_anywhere_by_chance_rarely_alarm(self, n_replicates):
        # All three dimensions dead, lr too: the worst case, since lr needs no trend. The rule itself allows for lr,
        # per arm, P(at least max(2, R/2) of R winners within 5 % of one edge), on two edges.
        rng = np.random.default_rng(100 + n_replicates)
        n_arms = 300
        arms = [simulated_arm(rng, n_replicates, 0.5, n_trials=8, curvature=0.0) for _ in range(n_arms)]
        alarms = sum(is_narrow(cells) for cells in arms)
        by_lr = 2 * stats.binom.sf(max(2, math.ceil(n_replicates / 2)) - 1, n_replicates, 0.05)
        assert by_lr <= 0.03
        assert alarms <= stats.binom.ppf(0.995, n_arms, 0.05)


class TestPower:
    def test_an_optimum_beyond_the_edge_is_found(self):
        rng = np.random.default_rng(7)
        found = sum(is_narrow(simulated_arm(rng, 5, 1.3, n_trials=30)) for _ in range(40))
        assert found >= 0.8 * 40


class TestWorkedCases:
    middle = np.full((8, 3), 0.5)

    def arm(self, winner_rows, values=None):
        cells = []
        for replicate, row in enumerate(winner_rows):
            rows = self.middle.copy()
            rows[0] = row
            cells.append(cell(replicate, rows, np.linspace(0.2, 1, 8) if values is None else values))
        return cells

    def test_two_of_four_winners_at_lrs_upper_edge(self):
        inner, edge = (0.5, 0.5, 0.5), (0.951, 0.5, 0.5)
        (finding,) = find_edges(ARM, self.arm([edge, inner, edge, inner]))
        assert finding.is_narrow
        assert finding.text == "lr at its upper edge (0.1) in 2 of 4 replicates"
        (finding,) = find_edges(ARM, self.arm([edge, inner, edge, inner, inner]))
        assert not finding.is_narrow  # fewer than half: a note
        assert find_edges(ARM, self.arm([edge, inner, inner])) == ()  # one winner is no finding
        assert find_edges(ARM, self.arm([(0.949, 0.5, 0.5)] * 3)) == ()  # outside the outer 5 %

    def test_winners_at_different_edges_do_not_add_up(self):
        assert find_edges(ARM, self.arm([(0.01, 0.5, 0.5), (0.99, 0.5, 0.5)])) == ()

    def test_another_dimension_needs_a_trend_to_the_edge(self):
        rng = np.random.default_rng(0)
        flat = [(0.5, 0.01, 0.5)] * 3
        (finding,) = find_edges(ARM, self.arm(flat))
        assert finding.dimension == "weight_decay"
        assert finding.side == "lower"
        cells = []
        for replicate in range(3):
            rows = rng.random((12, 3))
            rows[0, 1] = 0.01
            cells.append(cell(replicate, rows, rows[:, 1]))  # the lower the better
        narrow = [finding for finding in find_edges(ARM, cells) if finding.is_narrow]
        assert [finding.dimension for finding in narrow] == ["weight_decay"]
        assert narrow[0].trend_p < 1e-4

    def test_trend_equals_a_mann_whitney_test_worked_by_hand(self):
        # One cell, 8 trials; the best quarter lies at 0 and .1, the rest at .2 ... .7: U = 0 of 12.
        rows = np.full((8, 3), 0.5)
        rows[:, 0] = np.arange(8) / 10
        trend = edge_trend("lr", ARM.dimensions["lr"], "lower", [cell(0, rows, np.arange(8) + 1.0)])
        z = (0 - 6 + 0.5) / math.sqrt(2 * 6 * 9 / 12)
        assert trend == pytest.approx(stats.norm.cdf(z))

    def test_diverged_trials_rank_last_and_constant_dimensions_have_no_trend(self):
        values = [None, *np.linspace(0.2, 1, 7)]
        rows = np.full((8, 3), 0.5)
        assert edge_trend("lr", ARM.dimensions["lr"], "upper", [cell(0, rows, values, winner=1)]) is None

    def test_a_cell_without_winner_or_parameter_is_skipped(self):
        empty = Cell(3, ())
        assert find_edges(ARM, [empty, *self.arm([(0.99, 0.5, 0.5)])]) == ()
        other = trial(0, 0, Phase.SEARCH, 0, {"lr": "auto", "nesterov": True}, 0.1)
        assert position(other, "lr", log(1e-4, 1e-1)) is None
        assert position(other, "nesterov", Dimension(Scale.UNIFORM, 0, 1)) is None
        assert position(other, "delta", log(1e-2, 1)) is None

    def test_positions_use_the_dimensions_own_scale(self):
        run = trial(0, 0, Phase.SEARCH, 0, {"lr": 1e-2, "layers": 3}, 0.1)
        assert position(run, "lr", log(1e-4, 1)) == pytest.approx(0.5)
        assert position(run, "lr", Dimension(Scale.UNIFORM, 0, 1)) == pytest.approx(0.01)
        assert position(run, "layers", Dimension(Scale.INT, 1, 5)) == pytest.approx(0.5)
