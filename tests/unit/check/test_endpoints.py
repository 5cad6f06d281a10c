"""Three losses of training: what they are, what they come to, and what is said about them."""

import json
import math

import pytest
import torch

from service.domain.checks import CheckVerdict
from service.domain.sequential import Decision, Plan
from workers.check.config import TrainingWorkload
from workers.check.endpoints import ENDPOINTS, Outcome, Pairs, finding_of, judge, percent_words, verdict_of

BEHAVIOUR, TRAIN, VALIDATION = ENDPOINTS
PLAN = Plan((4, 8))
WORKLOAD = TrainingWorkload(name="digits-mlp")
D, V = Decision, CheckVerdict


def answer(n=4, factor=1.0, digest="same"):
    losses = torch.linspace(2.0, 1.0, 40).repeat(n, 1) * torch.linspace(0.9, 1.1, n)[:, None]
    return {
        "losses": losses * factor,
        "digests": [digest] * n,
        "validation_losses": losses[:, -1] * factor,
        "validation_accuracies": torch.full((n,), 0.9),
    }


def pairs_of(*answers):
    pairs = Pairs(0)
    for baseline, candidate in answers:
        pairs.add(baseline, candidate)
    return pairs


def test_endpoints_are_mean_losses_of_the_early_steps_of_all_steps_and_the_last_validation():
    pairs = pairs_of((answer(), answer()))
    losses = answer()["losses"].double()
    assert pairs.values["baseline"]["behaviour"] == pytest.approx(losses[:, :20].mean(1).tolist())
    assert pairs.values["candidate"]["train_loss"] == pytest.approx(losses.mean(1).tolist())
    assert pairs.values["candidate"]["validation_loss"] == pytest.approx(losses[:, -1].tolist())


def test_differences_are_log_ratios_of_pairs_over_all_looks():
    pairs = pairs_of((answer(), answer(factor=1.5)), (answer(2), answer(2, factor=1.5)))
    assert len(pairs) == 6
    assert pairs.differences(TRAIN) == pytest.approx([math.log(1.5)] * 6)


def test_a_loss_of_zero_has_a_logarithm():
    assert all(map(math.isfinite, pairs_of((answer(), answer(factor=0.0))).differences(VALIDATION)))


def test_equal_losses_with_other_weights_are_not_equal_to_the_bit():
    assert pairs_of((answer(), answer())).is_equal
    assert not pairs_of((answer(), answer(digest="other"))).is_equal
    assert not pairs_of((answer(), answer(factor=1.0000001))).is_equal
    assert not pairs_of((answer(), answer(digest="other")), (answer(), answer())).is_equal


def test_a_seed_that_diverged_is_named():
    wild = answer()
    wild["losses"][2, 30] = math.nan
    pairs = pairs_of((answer(), wild))
    assert pairs.diverged("candidate") == [2]
    assert pairs.diverged("baseline") == []


def test_bitwise_equal_runs_are_equivalent_at_the_first_look():
    outcome = judge(pairs_of((answer(), answer())), BEHAVIOUR, 0.002, PLAN)
    assert (outcome.decision, outcome.is_equal) == (D.EQUIVALENT, True)


@pytest.mark.parametrize(
    ("endpoint", "first", "second", "verdict"),
    [
        (TRAIN, D.EQUIVALENT, None, V.PASS),
        (TRAIN, D.NOT_WORSE, None, V.PASS),
        (TRAIN, D.BETTER, None, V.CHANGED),
        (TRAIN, D.UNDECIDED, None, V.INCONCLUSIVE),
        (TRAIN, D.WORSE, D.WORSE, V.FAIL),
        (TRAIN, D.WORSE, D.EQUIVALENT, V.PASS),
        (TRAIN, D.WORSE, D.NOT_WORSE, V.PASS),
        (TRAIN, D.WORSE, D.BETTER, V.INCONCLUSIVE),
        (TRAIN, D.WORSE, D.UNDECIDED, V.INCONCLUSIVE),
        (BEHAVIOUR, D.EQUIVALENT, None, V.PASS),
        (BEHAVIOUR, D.WORSE, None, V.CHANGED),
        (BEHAVIOUR, D.BETTER, None, V.CHANGED),
        (BEHAVIOUR, D.NOT_WORSE, None, V.INCONCLUSIVE),
        (BEHAVIOUR, D.UNDECIDED, None, V.INCONCLUSIVE),
    ],
)
def test_a_failure_needs_a_second_one_and_a_gain_is_a_change(endpoint, first, second, verdict):
    outcomes = [Outcome(decision, (0.1, 0.2, 0.3, 0.2)) for decision in (first, second) if decision]
    assert verdict_of(endpoint, outcomes[0], outcomes[1] if second else None) is verdict


def finding(endpoint, *outcomes, margin=0.02, plan=PLAN):
    return finding_of(WORKLOAD, endpoint, outcomes, margin, plan, {})


def test_a_failure_says_both_blocks():
    found = finding(TRAIN, Outcome(D.WORSE, (0.1,) * 4), Outcome(D.WORSE, (0.2,) * 4))
    assert found.name == "digits-mlp-train-loss"
    assert found.verdict is V.FAIL
    assert found.sentence == (
        "digits-mlp: train loss over the run moves by +10.5 % (95 % +10.5 % to +10.5 %) on 4 paired seeds: "
        "worse for certain, and not surely by less than 2.02 %; on other seeds it moves by +22.1 % "
        "(95 % +22.1 % to +22.1 %) on 4 paired seeds: worse for certain, and not surely by less than 2.02 %"
    )
    assert found.estimate == pytest.approx(22.14, abs=0.01)
    assert found.limit == pytest.approx(2.02, abs=0.001)


def test_a_change_says_that_it_is_one_and_bitwise_equality_too():
    assert finding(BEHAVIOUR, Outcome(D.WORSE, (0.1,) * 4)).sentence.endswith(": a change of behaviour")
    equal = finding(BEHAVIOUR, Outcome(D.EQUIVALENT, (0.0,) * 4, is_equal=True))
    assert equal.sentence.endswith("is equal to the bit on 4 paired seeds, and so are all weights")
    assert (equal.estimate, equal.low, equal.high) == (0.0, 0.0, 0.0)


def test_an_interval_without_bound_is_said_and_is_no_number_in_json():
    anytime = Plan((4, 8), is_anytime=True)
    found = finding(TRAIN, Outcome(D.UNDECIDED, (0.1, 0.2, -0.1, 0.3)), plan=anytime)
    assert math.isinf(anytime.limits_at(4).interval)
    assert (found.low, found.high) == (None, None)
    assert "(95 % without bound to without bound)" in found.sentence
    json.dumps(found.estimate, allow_nan=False)


@pytest.mark.parametrize(
    ("log_ratio", "words"), [(0.0, "0.0000 %"), (1e-8, "0.0000 %"), (0.1, "+10.5 %"), (-0.1, "-9.52 %")]
)
def test_log_ratios_are_read_as_percent(log_ratio, words):
    assert percent_words(log_ratio) == words
