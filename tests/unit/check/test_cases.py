import pytest
import torch

from adamp import AdamP
from tests.unit.check.numerics_support import config_of
from workers.check.grid import case_words, numerics_cases
from workers.check.probe.cases import GRADIENTS, SITUATIONS, Case, case_from_json
from workers.check.probe.gradients import branch, draw_gradients, start_weights
from workers.check.probe.trajectory import run_case

GROUP = {"delta": 0.1, "wd_ratio": 0.1, "eps": 1e-8}
VIEWS = {"channel": 1, "layer": 2, "radial": 0}


@pytest.mark.parametrize("gradient", sorted(VIEWS))
@pytest.mark.parametrize("seed", range(5))
def test_gradients_are_orthogonal_in_the_view_that_their_kind_names(gradient, seed):
    case = Case(gradient, seed=seed, shapes=((4, 3, 2, 2), (6, 5)))
    weights = start_weights(case)
    grads = draw_gradients(case, 0, weights, GROUP)
    assert [branch(g, w, GROUP).view for g, w in zip(grads, weights, strict=True)] == [VIEWS[gradient]] * 2


def test_near_gradients_lie_just_below_the_threshold_and_then_just_above():
    case = Case("near", shapes=((4, 3, 2, 2), (6, 5)))
    weights = start_weights(case)
    for step, is_channel in ((0, True), (1, False)):
        branches = [
            branch(g, w, GROUP) for g, w in zip(draw_gradients(case, step, weights, GROUP), weights, strict=True)
        ]
        assert [found.view == 1 for found in branches] == [is_channel] * 2
        assert all(found.margin <= 0.021 for found in branches)


def test_start_weights_and_gradients_are_exact_in_lower_precision():
    case = Case("channel")
    weights = start_weights(case)
    assert all(torch.equal(weight.bfloat16().double(), weight) for weight in weights)
    assert all(torch.equal(grad.float().double(), grad) for grad in draw_gradients(case, 3, weights, GROUP))


def test_the_decision_is_the_one_that_adamp_takes():
    for gradient in GRADIENTS:
        made = []

        def make(params, made=made, **more):
            made.append(AdamP(params, **more))
            return made[-1]

        case = Case(gradient, shapes=((4, 3, 2, 2), (6, 5)), steps=1)
        run = run_case(make, case, torch.float64)
        decided = [int(entry.decision) for entry in made[0].diagnostics().values()]
        assert decided == run["views"][0].tolist()


@pytest.mark.parametrize("situation", sorted(set(SITUATIONS) - {"large"}))
def test_a_second_run_on_the_same_gradients_comes_out_the_same_to_the_bit(situation):
    case = Case("channel", situation=situation, arguments={"weight_decay": 0.1}, steps=6)
    first = run_case(AdamP, case, torch.float64)
    again = run_case(AdamP, case, torch.float64, first)
    assert torch.equal(first["weights"], again["weights"])
    assert not first["has_moved_gradients"]


def test_a_case_survives_json():
    case = Case("layer", 2.0, {"nesterov": True}, shapes=((2, 3), ()), pattern=[[[0.0]]])
    assert case_from_json(case.to_json()) == case


def test_a_case_is_named_in_words():
    case = Case("near", 1e3, {"weight_decay": 0.1, "nesterov": True}, "closure")
    assert case_words(case) == (
        "gradients near AdamP's threshold, scale 1e+03, step(closure), weight_decay=0.1, nesterov=True"
    )
    for case in numerics_cases(config_of(), 0):
        assert case_words(case)
