"""Which failed trials may run again."""

from dataclasses import replace

import pytest

from service.domain.retrying import refusals, too_many_failures
from service.domain.study import Arm, Limits, SearchPlan, Study
from service.domain.trial import Outcome, Phase, TrialRecord, TrialState

LOST, ERROR, GONE = Outcome.LOST, Outcome.WORKLOAD_ERROR, Outcome.CANCELLED


PLAN = SearchPlan(trials=3)


def study(search=PLAN, failures=10):
    arm = Arm("a", "AdamW", {})
    return Study("s", "digits-mlp", (arm,), (), search=search, limits=Limits(failures=failures))


def trial(number, phase=Phase.SEARCH, outcome=Outcome.FINISHED, cell_number=None, replicate=0):
    state = outcome.state if outcome else TrialState.WAITING
    cell_number = number if cell_number is None else cell_number
    value = 0.5 if outcome is Outcome.FINISHED else None
    return TrialRecord(
        number, "a", replicate, phase, cell_number, cell_number, 0, 7, state, {}, outcome, value, n_steps=10
    )


def asked(trials, *, ended=None, has_failed=False, **options):
    failed = [t.number for t in trials if t.outcome and not t.outcome.counts]
    return refusals(study(**options), trials, ended or failed, has_failed=has_failed)


def test_search_trial_whose_place_is_taken_is_refused_with_the_number_of_the_other():
    trials = [trial(0), trial(1, outcome=LOST), trial(2), trial(3, outcome=None)]
    assert asked(trials) == {1: "trial 1 failed and trial 3 was asked in its place"}
    assert asked(trials, has_failed=True) == asked(trials)


def test_failures_are_replaced_in_the_order_in_which_they_ended():
    trials = [trial(0, outcome=LOST), trial(1, outcome=ERROR), trial(2), trial(3, outcome=None)]
    found = asked(trials, ended=[1, 0], has_failed=True)
    assert found == {1: "trial 1 failed and trial 3 was asked in its place", 0: None}


def test_failure_that_the_search_has_not_seen_yet_will_be_replaced_unless_the_study_has_failed():
    trials = [trial(0), trial(1, outcome=LOST), trial(2)]
    assert asked(trials) == {1: "trial 1 failed and the search asks another in its place"}
    assert asked(trials, has_failed=True) == {1: None}


def test_step_by_step_search_goes_on_with_the_next_trial():
    trials = [trial(0, outcome=ERROR), trial(1), trial(2, outcome=ERROR)]
    found = asked(trials, search=SearchPlan("tpe", trials=9), has_failed=True)
    assert found == {0: "trial 0 failed and trial 1 was asked in its place", 2: None}


def test_search_that_has_spent_its_budget_needs_no_trial():
    trials = [trial(0), trial(1), trial(2, outcome=ERROR)]
    search = SearchPlan(trials=9, budget={"steps": 20})
    found = asked(trials, search=search, has_failed=True)
    assert found == {2: "the search of arm a, replicate 0 has ended without trial 2"}


def test_select_run_may_run_again_until_its_cell_has_a_winner():
    search = [trial(i) for i in range(3)]
    select = [trial(3, Phase.SELECT), trial(4, Phase.SELECT, LOST)]
    assert asked([*search, *select]) == {4: None}
    confirm = trial(5, Phase.CONFIRM, None)
    found = asked([*search, *select, confirm])
    assert found == {4: "the winner of arm a, replicate 0 was chosen without trial 4; trial 5 confirms it"}


def test_confirm_run_may_always_run_again():
    trials = [*(trial(i) for i in range(3)), trial(3, Phase.SELECT), trial(4, Phase.CONFIRM, ERROR)]
    assert asked(trials) == {4: None}


def test_cells_do_not_disturb_each_other_and_cancelled_trials_are_no_failures():
    first = [trial(0, outcome=ERROR), trial(1), trial(2), trial(6, cell_number=3)]
    second = [
        replace(trial(3 + i, outcome=outcome, cell_number=i), replicate=1) for i, outcome in enumerate((ERROR, GONE))
    ]
    found = asked([*first, *second], has_failed=True)
    assert found == {0: "trial 0 failed and trial 6 was asked in its place", 3: None}


@pytest.mark.parametrize(("revived", "is_refused"), [([0], True), ([0, 1], False), ([0, 1, 2], False)])
def test_retry_that_leaves_too_many_failures_is_refused(revived, is_refused):
    trials = [trial(0, outcome=ERROR), trial(1, outcome=LOST), trial(2, outcome=GONE), trial(3)]
    reason = too_many_failures(study(failures=1), trials, revived)
    assert (reason is not None) == is_refused
    if reason:
        assert reason.startswith("more than 1 trials (limits.failures) of arm a, replicate 0 would still have failed")
