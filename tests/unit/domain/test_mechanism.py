"""Mechanism summaries, worked by hand."""

import json

import pytest

from service.domain.mechanism import ArmMechanism, LayerSummary, describe_mechanism
from service.domain.trial import LayerMeasurement, Outcome, Phase, TrialRecord, TrialState


def trial(number, arm, phase=Phase.CONFIRM, outcome=Outcome.FINISHED):
    return TrialRecord(number, arm, 0, phase, number, 0, 0, number, TrialState.COMPLETE, {}, outcome=outcome)


def epochs(trial, layer, norms, rates=None, *, is_scale_invariant=True):
    rates = rates or [None] * len(norms)
    return [
        LayerMeasurement(trial, layer, epoch, norm, 0.1 / norm**2 if norm else 0.0, rate, is_scale_invariant)
        for epoch, (norm, rate) in enumerate(zip(norms, rates, strict=True))
    ]


def test_medians_over_confirm_runs_and_layers():
    trials = [trial(1, "adamp"), trial(2, "adamp"), trial(3, "adamp"), trial(4, "adamw")]
    layers = [
        *epochs(1, "conv1", [1.0, 1.5, 2.0], [None, 0.2, 0.4]),
        *epochs(2, "conv1", [2.0, 3.0, 10.0], [None, 1.0, 0.0]),
        *epochs(3, "conv1", [1.0, 1.0, 4.0], [None, 0.1, 0.1]),
        *epochs(1, "conv2", [1.0, 1.0], [0.0, 0.9]),
        *epochs(4, "conv1", [1.0, 10.0]),
    ]
    mechanism = describe_mechanism(["adamw", "adamp"], trials, reversed(layers))
    # conv1 of adamp: growths 2, 5, 4; effective rates 1/4, 1/25, 1/16; shares .3, .5, .1.
    assert mechanism.layers == (
        LayerSummary("adamw", "conv1", 10.0, pytest.approx(0.01), None, 1),
        LayerSummary("adamp", "conv1", 4.0, 1 / 16, pytest.approx(0.3), 3),
        LayerSummary("adamp", "conv2", 1.0, 1.0, 0.9, 1),
    )
    assert mechanism.arms == (
        ArmMechanism("adamw", 10.0, pytest.approx(0.01), None, 1),
        ArmMechanism("adamp", 2.5, pytest.approx((1 / 16 + 1) / 2), pytest.approx(0.6), 2),
    )


def test_only_finished_confirm_runs_and_scale_invariant_layers_count():
    trials = [trial(1, "a"), trial(2, "a", Phase.SEARCH), trial(3, "a", Phase.SELECT)]
    trials += [trial(4, "a", outcome=Outcome.DIVERGED), trial(5, "b", Phase.REPRODUCE)]
    layers = [entry for number in (1, 2, 3, 4, 5, 99) for entry in epochs(number, "conv", [1.0, float(number + 1)])]
    layers += epochs(1, "head", [1.0, 7.0], is_scale_invariant=False)
    mechanism = describe_mechanism(["a", "b"], trials, layers)
    assert mechanism.layers == (LayerSummary("a", "conv", 2.0, 0.25, None, 1),)
    assert mechanism.arms[1] == ArmMechanism("b", None, None, None, 0)


@pytest.mark.parametrize("norms", [[1.0], [0.0, 1.0], [1.0, 0.0], [1.0, float("inf")]])
def test_a_run_without_a_finite_growth_has_none(norms):
    mechanism = describe_mechanism(["a"], [trial(1, "a")], epochs(1, "conv", norms))
    assert mechanism.layers == (LayerSummary("a", "conv", None, None, None, 1),)
    assert mechanism.arms == (ArmMechanism("a", None, None, None, 1),)
    json.dumps(mechanism.to_dict(), allow_nan=False)


def test_a_run_measured_from_the_middle_has_no_growth():
    layers = epochs(1, "conv", [1.0, 2.0, 3.0], [None, 0.5, 0.7])[1:]
    (summary,) = describe_mechanism(["a"], [trial(1, "a")], layers).layers
    assert (summary.norm_growth, summary.projection_rate) == (None, pytest.approx(0.6))


def test_nothing_measured_is_empty():
    mechanism = describe_mechanism(["a"], [trial(1, "a")], [])
    assert mechanism.to_dict() == {"layers": [], "arms": [], "runs": []}
