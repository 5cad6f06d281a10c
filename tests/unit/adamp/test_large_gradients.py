"""Gradients whose squares float32 cannot hold, and those just below."""

import numpy as np
import pytest
import torch

from adamp import SGDP, SGDW, AdamP, Decision
from tests.unit.adamp.cases import ADAMP, KINDS, SGDP_, Case, gradient

every_path = pytest.mark.parametrize("fused", [False, None], ids=["torch", "best path"])
SHAPE = (40, 600)


def weight_and_gradients(n_steps):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(SHAPE, generator=generator)
    return weight, [gradient(KINDS[t % 4], weight.double(), generator).float() for t in range(n_steps)]


def take(optimizer, factor, *, n_steps=4, **hyper):
    """Steps on gradients multiplied by `factor`; the weight and the decisions."""
    weight, grads = weight_and_gradients(n_steps)
    param = torch.nn.Parameter(weight.clone())
    subject, told = optimizer([param], **hyper), []
    for grad in grads:
        param.grad = grad * factor
        subject.step()
        told.append(subject.diagnostics()[0, 0])
    return param.detach(), told


@every_path
@pytest.mark.parametrize("power", [50, 40, -10])
@pytest.mark.parametrize("changes", [{}, {"nesterov": True}, {"momentum": 0.0}])
def test_sgdp_with_gradients_as_much_larger_as_lr_is_smaller_takes_the_same_step(changes, power, fused):
    hyper = {**SGDP_, **changes, "fused": fused}
    weight, told = take(SGDP, 1.0, **hyper)
    scaled, told_scaled = take(SGDP, 2.0**power, **{**hyper, "lr": hyper["lr"] * 2.0**-power})
    assert [t.decision for t in told_scaled] == [t.decision for t in told]
    torch.testing.assert_close(scaled, weight, rtol=2e-6, atol=2e-7)


@every_path
@pytest.mark.parametrize("size", [1e10, 1e15])
def test_adamp_with_gradients_of_1e15_is_within_2e_6_of_the_displacement(size, fused):
    case = Case(AdamP, {"weight_decay": 0.05})
    start, grads = weight_and_gradients(20)
    reference = case.reference(start.double().numpy(), **case.hyper)
    views = [reference.step((grad * size).double().numpy()) for grad in grads]
    weight, told = take(AdamP, size, n_steps=20, **case.hyper, fused=fused)
    assert [t.decision.name.lower() for t in told] == views
    displacement = np.abs(reference.weight - start.double().numpy()).max()
    assert np.abs(weight.double().numpy() - reference.weight).max() < 2e-6 * displacement


@every_path
@pytest.mark.parametrize("size", [1e20, 1e30, 1e37])
def test_a_gradient_whose_norm_float32_cannot_hold_tells_no_angle_and_is_not_projected(size, fused):
    # The steps of one without projection: SGDW's.
    hyper = {"momentum": 0.9, "lr": 0.05 / size}
    weight, told = take(SGDP, size, **hyper, fused=fused)
    expected, _ = take(SGDW, size, **hyper, fused=False)
    assert {t.decision for t in told} == {Decision.NONE}
    assert all(np.isnan(t.channel_cos) and np.isnan(t.layer_cos) for t in told)
    torch.testing.assert_close(weight, expected, rtol=2e-6, atol=2e-7)


@every_path
def test_adamp_does_then_what_adamw_does_and_stays_finite(fused):
    # The second moment is infinite: no step is taken from then on.
    hyper = {"weight_decay": 0.05, "lr": 0.1}
    weight, _ = take(AdamP, 1e30, **hyper, fused=fused)
    expected = adamw(1e30, **hyper)
    torch.testing.assert_close(weight, expected, rtol=2e-6, atol=0)
    assert weight.isfinite().all()


def adamw(factor, **hyper):
    weight, grads = weight_and_gradients(4)
    param = torch.nn.Parameter(weight.clone())
    subject = torch.optim.AdamW([param], **hyper)
    for grad in grads:
        param.grad = grad * factor
        subject.step()
    return param.detach()


@every_path
@pytest.mark.parametrize(("optimizer", "hyper"), [(AdamP, ADAMP), (SGDP, SGDP_)])
def test_a_weight_whose_norm_float32_cannot_hold_is_not_projected(optimizer, hyper, fused):
    param = torch.nn.Parameter(torch.full((3, 4), 1e25))
    subject = optimizer([param], **hyper, fused=fused)
    param.grad = torch.ones(3, 4)
    subject.step()
    assert subject.diagnostics()[0, 0].decision is Decision.NONE
    assert param.detach().isfinite().all()


@every_path
def test_neither_is_an_orthogonal_pair_of_which_both_norms_are_too_large(fused):
    param = torch.nn.Parameter(torch.tensor([[2e19, 0.0], [2e19, 0.0]]))
    subject = SGDP([param], lr=0.1, fused=fused)
    param.grad = torch.tensor([[0.0, 2e19], [0.0, 2e19]])
    subject.step()
    assert subject.diagnostics()[0, 0].decision is Decision.NONE
