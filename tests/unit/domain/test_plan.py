"""What a cell does next, from its trials alone."""

import dataclasses
import random

import pytest

from service.domain.plan import CellState, Rerun, choose_finalists, choose_winner, plan_cell
from service.domain.study import Arm, Limits, SearchPlan, Study
from service.domain.trial import Outcome, Phase, TrialRecord, TrialState


def study(**changes):
    fields = {
        "name": "s",
        "workload": "digits-cnn",
        "arms": (Arm("a", "SGD", {}),),
        "compare": (),
        "search": SearchPlan(trials=4),
        "select_top": 2,
        "select_seeds": 2,
        "confirm_seeds": 3,
        "limits": Limits(failures=2),
        **changes,
    }
    return Study(**fields)


class Cell:
    """A cell's trials, one after another."""

    def __init__(self):
        self.trials = []

    def add(self, phase, value=None, outcome=None, config=None, seed_index=0):
        number = len(self.trials)
        if outcome is None and value is not None:
            outcome = Outcome.FINISHED
        state = outcome.state if outcome else TrialState.WAITING
        place = {"number": number, "cell_number": number, "config": number if config is None else config}
        rest = {"arm": "a", "replicate": 0, "seed_index": seed_index, "seed": 1, "params": {}}
        self.trials.append(TrialRecord(**place, **rest, phase=phase, state=state, outcome=outcome, value=value))
        return self

    def search(self, *values):
        for value in values:
            self.add(Phase.SEARCH, value)
        return self

    def ended(self, outcome, phase=Phase.SEARCH, **place):
        return self.add(phase, None, outcome, **place)

    def rerun(self, phase, results):
        for (config, seed_index), value in results.items():
            outcome = value if isinstance(value, Outcome) else None
            self.add(phase, None if outcome else value, outcome, config, seed_index)
        return self


def searched():
    return Cell().search(0.4, 0.2, 0.3, 0.1)


def selected(results=None):
    given = {(3, 0): 0.2, (3, 1): 0.2, (1, 0): 0.1, (1, 1): 0.1}
    return searched().rerun(Phase.SELECT, results or given)


def test_empty_cell_asks_for_its_whole_budget():
    assert plan_cell(study(), []).n_suggestions == 4


def test_adaptive_sampler_asks_for_as_many_as_may_be_open():
    adaptive = study(search=SearchPlan("tpe", trials=4, parallelism=2))
    cell = Cell()
    assert plan_cell(adaptive, cell.trials).n_suggestions == 2
    assert plan_cell(adaptive, cell.search(None, 0.2).trials).n_suggestions == 1
    assert plan_cell(adaptive, cell.search(0.3, 0.3).trials).n_suggestions == 0


def test_open_trials_are_waited_for():
    assert plan_cell(study(), Cell().search(0.1, 0.2, 0.3, None).trials).n_suggestions == 0
    assert plan_cell(study(), Cell().search(0.1, 0.2, 0.3, None).trials).state is CellState.SEARCH


@pytest.mark.parametrize("outcome", [o for o in Outcome if not o.counts])
def test_failed_search_trial_is_replaced(outcome):
    plan = plan_cell(study(), Cell().search(0.1, 0.2, 0.3).ended(outcome).trials)
    assert (plan.state, plan.n_suggestions) == (CellState.SEARCH, 1)


@pytest.mark.parametrize("outcome", [Outcome.DIVERGED, Outcome.PRUNED])
def test_diverged_and_pruned_trials_use_up_budget(outcome):
    assert plan_cell(study(), Cell().search(0.1, 0.2, 0.3).ended(outcome).trials).state is CellState.SELECT


def test_one_failure_above_the_limit_fails_the_cell():
    cell = Cell().ended(Outcome.LOST).ended(Outcome.TIME_LIMIT)
    assert plan_cell(study(), cell.trials).state is CellState.SEARCH
    plan = plan_cell(study(), cell.ended(Outcome.WORKLOAD_ERROR).trials)
    assert plan.state is CellState.FAILED
    assert plan.reason == "3 trials of the cell failed; limits.failures is 2"
    assert (plan.n_suggestions, plan.reruns) == (0, ())


def test_failures_of_all_phases_count_together():
    cell = selected({(3, 0): Outcome.LOST, (3, 1): 0.2, (1, 0): Outcome.LOST, (1, 1): 0.1})
    assert plan_cell(study(limits=Limits(failures=1)), cell.trials).state is CellState.FAILED


def test_select_reruns_the_best_few_on_every_seed():
    plan = plan_cell(study(), searched().trials)
    assert plan.state is CellState.SELECT
    assert plan.reruns == (Rerun(3, 0), Rerun(1, 0), Rerun(3, 1), Rerun(1, 1))


def test_select_waits_for_all_its_runs():
    plan = plan_cell(study(), selected({(3, 0): 0.2, (3, 1): 0.2, (1, 0): 0.1, (1, 1): None}).trials)
    assert (plan.state, plan.reruns, plan.winner) == (CellState.SELECT, (), None)


def test_confirm_runs_the_winner_on_every_held_out_seed():
    plan = plan_cell(study(), selected().trials)
    assert (plan.state, plan.winner) == (CellState.CONFIRM, 1)
    assert plan.reruns == (Rerun(1, 0), Rerun(1, 1), Rerun(1, 2))


def test_cell_is_finished_when_all_confirm_runs_are_even_if_some_failed():
    cell = selected().rerun(Phase.CONFIRM, {(1, 0): 0.1, (1, 1): Outcome.LOST, (1, 2): None})
    assert plan_cell(study(), cell.trials).state is CellState.CONFIRM
    cell = selected().rerun(Phase.CONFIRM, {(1, 0): 0.1, (1, 1): Outcome.LOST, (1, 2): Outcome.DIVERGED})
    plan = plan_cell(study(), cell.trials)
    assert (plan.state, plan.winner, plan.reruns) == (CellState.FINISHED, 1, ())


def test_ties_go_to_the_earlier_configuration():
    assert choose_finalists(Cell().search(0.2, 0.1, 0.1, 0.1).trials, 2) == [1, 2]
    assert choose_winner(selected({(3, 0): 0.1, (3, 1): 0.4, (1, 0): 0.4, (1, 1): 0.1}).trials[4:]) == 1


def test_winner_has_the_lowest_mean_of_logs_not_of_values():
    """Means of values are 0.25 and 0.26, of logs -1.96 and -1.35."""
    assert choose_winner(selected({(3, 0): 0.04, (3, 1): 0.48, (1, 0): 0.25, (1, 1): 0.25}).trials[4:]) == 3


def test_diverged_search_trials_rank_last():
    cell = Cell().ended(Outcome.DIVERGED).search(9.0, 8.0).ended(Outcome.DIVERGED)
    assert choose_finalists(cell.trials, 3) == [2, 1, 0]


def test_configuration_with_a_diverged_or_failed_select_run_does_not_win():
    for bad in (Outcome.DIVERGED, Outcome.LOST):
        cell = selected({(3, 0): bad, (3, 1): 1e-6, (1, 0): 0.9, (1, 1): 0.9})
        assert plan_cell(study(), cell.trials).winner == 1


def test_study_in_which_everything_diverges_still_ends():
    cell = Cell()
    for _ in range(4):
        cell.ended(Outcome.DIVERGED)
    plan = plan_cell(study(), cell.trials)
    assert [rerun.config for rerun in plan.reruns] == [0, 1, 0, 1]
    cell.rerun(Phase.SELECT, {(rerun.config, rerun.seed_index): Outcome.DIVERGED for rerun in plan.reruns})
    assert plan_cell(study(), cell.trials).winner == 0
    cell.rerun(Phase.CONFIRM, {(0, i): Outcome.DIVERGED for i in range(3)})
    assert plan_cell(study(), cell.trials).state is CellState.FINISHED


def test_late_result_changes_nothing_once_the_cell_has_moved_on():
    """A search trial more than T, better than all: finalists, winner and state stay."""
    before = plan_cell(study(), selected().trials)
    late = selected().search(0.0001)
    assert plan_cell(study(), late.trials) == before
    done = {(1, i): 0.1 for i in range(3)}
    finished = selected().rerun(Phase.CONFIRM, done).search(0.0001)
    assert plan_cell(study(), finished.trials).state is CellState.FINISHED


def test_order_in_which_trials_are_read_changes_nothing():
    cell = selected({(3, 0): 0.1, (3, 1): 0.4, (1, 0): 0.4, (1, 1): 0.1})
    expected = plan_cell(study(), cell.trials)
    for seed in range(20):
        shuffled = list(cell.trials)
        random.Random(seed).shuffle(shuffled)
        assert plan_cell(study(), shuffled) == expected


def test_plan_that_was_carried_out_is_not_made_again():
    cell = searched()
    plan = plan_cell(study(), cell.trials)
    for rerun in plan.reruns:
        cell.add(Phase.SELECT, config=rerun.config, seed_index=rerun.seed_index)
    again = plan_cell(study(), cell.trials)
    assert (again.state, again.reruns, again.n_suggestions) == (CellState.SELECT, (), 0)


@pytest.mark.parametrize("seed", range(10))
def test_any_course_ends_with_exactly_the_planned_runs(seed):
    """Random ends: T counted, each rerun once, whatever fails below the limit."""
    rng = random.Random(seed)
    spec = study(limits=Limits(failures=10**6), search=SearchPlan(rng.choice(["random", "tpe"]), trials=6))
    cell = Cell()
    for _ in range(500):
        plan = plan_cell(spec, cell.trials)
        if plan.state is CellState.FINISHED:
            break
        for _ in range(plan.n_suggestions):
            cell.add(Phase.SEARCH)
        phase = Phase.SELECT if plan.state is CellState.SELECT else Phase.CONFIRM
        for rerun in plan.reruns:
            cell.add(phase, config=rerun.config, seed_index=rerun.seed_index)
        open_ones = [i for i, trial in enumerate(cell.trials) if not trial.state.is_finished]
        index, outcome = rng.choice(open_ones), rng.choice(list(Outcome))
        value = rng.random() + 0.01 if outcome is Outcome.FINISHED else None
        cell.trials[index] = dataclasses.replace(cell.trials[index], state=outcome.state, outcome=outcome, value=value)
    assert plan.state is CellState.FINISHED
    assert sum(t.phase is Phase.SEARCH and t.outcome.counts for t in cell.trials) == 6
    assert [sum(t.phase is phase for t in cell.trials) for phase in (Phase.SELECT, Phase.CONFIRM)] == [4, 3]


def test_a_budget_of_steps_ends_the_search_before_t_trials_and_waits_for_what_is_open():
    limited = study(search=SearchPlan(trials=9, parallelism=2, budget={"steps": 25}))

    def plan(n_done, n_open=0):
        done = [dataclasses.replace(trial, n_steps=10) for trial in Cell().search(*[0.5] * n_done).trials]
        still = [dataclasses.replace(t, number=50 + t.number) for t in Cell().search(*[None] * n_open).trials]
        return plan_cell(limited, done + still)

    assert (plan(0).state, plan(0).n_suggestions) == (CellState.SEARCH, 2)
    assert plan(1, n_open=1).n_suggestions == 1
    assert plan(2).n_suggestions == 2
    assert (plan(3, n_open=1).state, plan(3, n_open=1).n_suggestions) == (CellState.SEARCH, 0)
    assert plan(3).state is CellState.SELECT
