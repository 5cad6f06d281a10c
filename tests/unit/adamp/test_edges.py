"""Small tensors, other channel dimensions, decays at the limit, and which plan a group has."""

import math

import pytest
import torch

from adamp import SGDP, SGDW, AdamP, Decision, native
from adamp.diagnostics import new_record
from adamp.projection import channel_threshold, decide_projection

F64 = torch.float64


@pytest.mark.parametrize("fused", [False, None])
@pytest.mark.parametrize(
    ("shape", "channel_dim", "n_per_channel"), [((2, 50), 1, 2), ((2, 50), 0, 50), ((3, 2, 4), -1, 6)]
)
def test_the_channels_threshold_is_that_of_the_named_dimension(shape, channel_dim, n_per_channel, fused):
    param = torch.nn.Parameter(torch.randn(shape, dtype=F64, generator=torch.Generator().manual_seed(0)))
    param.grad = torch.ones_like(param)
    subject = SGDP([param], lr=0.1, delta=0.3, channel_dim=channel_dim, fused=fused)
    subject.step()
    expected = 0.3 / math.sqrt(n_per_channel)
    assert subject.diagnostics()[0, 0].channel_threshold == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("fused", [False, None])
def test_the_decision_uses_the_threshold_of_the_named_dimension(fused):
    # Each column has cos 0.5: below 1 / sqrt(2), its own bound, and above 1 / sqrt(50), that of a row.
    weight = torch.zeros(2, 50, dtype=F64)
    weight[0] = 1
    grad = torch.zeros(2, 50, dtype=F64)
    grad[0], grad[1] = 0.5, math.sqrt(0.75)
    assert bool(decide_projection(grad, weight, delta=1.0, eps=0.0, channel_dim=1).is_channel)
    param = torch.nn.Parameter(weight)
    param.grad = grad
    subject = SGDP([param], lr=0.1, delta=1.0, channel_dim=1, fused=fused)
    subject.step()
    assert subject.diagnostics()[0, 0].decision is Decision.CHANNEL


def test_the_threshold_counts_dimension_0_as_channels_unless_said_otherwise():
    assert channel_threshold(torch.zeros(2, 50), delta=1.0) == 1 / math.sqrt(50)


@pytest.mark.parametrize("fused", [False, None])
@pytest.mark.parametrize("optimizer", [AdamP, SGDP])
def test_a_matrix_of_one_element_can_be_projected(optimizer, fused):
    param = torch.nn.Parameter(torch.ones(1, 1))
    param.grad = torch.ones(1, 1)
    subject = optimizer([param], lr=0.1, delta=1.5, fused=fused)
    subject.step()
    assert subject.diagnostics()[0, 0].decision is Decision.CHANNEL
    assert param.item() == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("fused", [False, None])
@pytest.mark.parametrize(("delta", "share"), [(1e9, 0.25), (0.0, 1.0)])
def test_a_decay_of_the_whole_weight_is_scaled_where_projected_too(delta, share, fused):
    param = torch.nn.Parameter(torch.ones(2, 2, dtype=F64))
    param.grad = torch.zeros_like(param)
    subject = SGDP([param], lr=0.5, weight_decay=2.0, wd_ratio=0.25, delta=delta, fused=fused)
    subject.step()
    assert torch.allclose(param.detach(), torch.full((2, 2), 1 - share, dtype=F64), atol=1e-15)
    assert subject.diagnostics()[0, 0].decay == pytest.approx(share)


def test_a_refused_channel_dim_is_shown():
    with pytest.raises(ValueError, match=r"channel_dim must be an integer, .* got 'x'"):
        AdamP([torch.nn.Parameter(torch.ones(2, 2))], channel_dim="x")


@pytest.mark.skipif(native.why_not() is not None, reason=f"no native step: {native.why_not()}")
def test_every_group_has_a_plan_of_its_own():
    params = [torch.nn.Parameter(torch.ones(2, 2)) for _ in range(2)]
    subject = SGDP([{"params": [p]} for p in params], lr=0.1, fused=True)
    for param in params:
        param.grad = torch.ones_like(param)
    subject.step()
    assert [key[0] for key in subject._plans] == [0, 1]
    kept = list(subject._plans.values())
    assert kept[0] is not kept[1]
    subject.step()
    assert [a is b for a, b in zip(kept, subject._plans.values(), strict=True)] == [True, True]


@pytest.mark.parametrize("fused", [False, None])
@pytest.mark.parametrize("optimizer", [AdamP, SGDP])
def test_a_group_without_any_gradient_is_left_alone_and_gets_no_state(optimizer, fused):
    params = [torch.nn.Parameter(torch.ones(2, 2)) for _ in range(2)]
    params[1].grad = torch.ones(2, 2)
    hyper = {"momentum": 0.9} if optimizer is SGDP else {}
    subject = optimizer([{"params": [p]} for p in params], lr=0.1, fused=fused, **hyper)
    subject.step()
    assert list(subject.state) == [params[1]]
    assert torch.equal(params[0].detach(), torch.ones(2, 2))


@pytest.mark.parametrize("optimizer", [AdamP, SGDP, SGDW])
def test_a_refused_gradient_names_the_optimizer(optimizer):
    param = torch.nn.Parameter(torch.ones(2, 2))
    param.grad = torch.ones(2, 2).to_sparse()
    message = rf"^{optimizer.__name__} needs dense real gradients.*\. Use sparse=False .* torch\.optim\.SparseAdam\.$"
    with pytest.raises(RuntimeError, match=message):
        optimizer([param], lr=0.1).step()


def test_a_refused_complex_parameter_comes_with_a_way_out():
    with pytest.raises(ValueError, match=r" \(view_as_real makes a complex tensor real\)\.$"):
        AdamP([torch.nn.Parameter(torch.ones(2, 2, dtype=torch.complex64))])


@pytest.mark.parametrize("channel_dim", [-2, -1, 0, 1])
def test_every_dimension_of_a_matrix_may_be_its_channels_and_vectors_do_not_care(channel_dim):
    AdamP([torch.nn.Parameter(torch.ones(2, 2)), torch.nn.Parameter(torch.ones(3))], channel_dim=channel_dim)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_record_counts_in_integers_on_its_weights_device(device):
    stats, counts = new_record(torch.ones(2, 2, device=device), F64)
    assert counts.dtype == torch.int64
    assert (stats.device.type, counts.device.type) == (device, device)


@pytest.mark.parametrize("optimizer", [AdamP, SGDP])
def test_a_group_of_dense_and_sliced_parameters_steps_each_with_its_own_state(optimizer):
    ends = []
    for fused in (False, None):
        generator = torch.Generator().manual_seed(0)
        dense, wide = (torch.randn(3, n, dtype=F64, generator=generator) for n in (2, 8))
        params = [torch.nn.Parameter(dense), torch.nn.Parameter(wide[:, ::2])]
        subject = optimizer(params, lr=0.1, fused=fused, **({"momentum": 0.9} if optimizer is SGDP else {}))
        for _ in range(3):
            for param in params:
                param.grad = torch.randn(param.shape, dtype=F64, generator=generator)
            subject.step()
        ends.append([param.detach().clone() for param in params])
    for plain, fused_end in zip(*ends, strict=True):
        assert torch.allclose(plain, fused_end, rtol=0, atol=1e-14)
