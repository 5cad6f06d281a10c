"""The decision and the projection by themselves."""

import math

import pytest
import torch

from adamp import SGDP, AdamP, Decision
from adamp.projection import decide_projection, project_onto_tangent
from tests.unit.adamp.cases import gradient

F64 = torch.float64


def decide(grad, weight, **changes) -> Decision:
    decision = decide_projection(grad, weight, **{"delta": 0.1, "eps": 1e-8, **changes})
    return Decision(int(decision.is_channel) + 2 * int(decision.is_layer))


def randn(*shape, seed=0):
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", ["channel", "layer", "none"])
@pytest.mark.parametrize("shape", [(5, 3), (6, 4, 3, 3), (9, 1), (64, 300)])
def test_constructed_gradients_trigger_the_view_they_are_made_for(kind, shape):
    weight = randn(*shape)
    grad = gradient(kind, weight, torch.Generator().manual_seed(1))
    assert decide(grad, weight) is Decision[kind.upper()]


def test_a_random_gradient_triggers_the_layer_view_in_about_8_percent():
    generator = torch.Generator().manual_seed(0)
    n_layer = 0
    for _ in range(2000):
        weight = torch.randn(8, 8, generator=generator)
        n_layer += decide(torch.randn(8, 8, generator=generator), weight) is Decision.LAYER
    assert n_layer / 2000 == pytest.approx(math.erf(0.1 / math.sqrt(2)), abs=0.02)


def test_one_channel_over_the_threshold_keeps_all_channels_from_being_projected():
    weight = randn(4, 50)
    grad = gradient("channel", weight, torch.Generator().manual_seed(1))
    assert decide(grad, weight) is Decision.CHANNEL
    grad[2] += weight[2]
    assert decide(grad, weight) is Decision.NONE


def test_a_column_is_never_channel_projected_by_a_random_gradient():
    assert decide(randn(50, 1, seed=2), randn(50, 1, seed=3)) is not Decision.CHANNEL


@pytest.mark.parametrize(("delta", "expected"), [(1.0, Decision.NONE), (1.0000001, Decision.CHANNEL)])
def test_the_comparison_is_strict(delta, expected):
    # cos is 1 in both views, and so is the threshold delta / sqrt(1).
    ones = torch.ones(1, 1, dtype=F64)
    assert decide(ones, ones, delta=delta) is expected


def test_delta_zero_never_projects_and_infinity_always():
    weight = randn(4, 5)
    tangent = gradient("channel", weight, torch.Generator())
    assert decide(torch.zeros_like(weight), weight, delta=0.0) is Decision.NONE
    assert decide(tangent, weight, delta=0.0) is Decision.NONE
    assert decide(weight, weight, delta=math.inf) is Decision.CHANNEL


@pytest.mark.parametrize("where", ["grad", "weight"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_nan_cosine_means_not_projected(where, value):
    tensors = {"grad": randn(3, 4, seed=4), "weight": randn(3, 4, seed=5)}
    tensors[where][1, 2] = value
    assert decide(**tensors, delta=1e9) is Decision.NONE


@pytest.mark.parametrize("where", ["grad", "weight"])
def test_a_non_finite_element_does_not_spread_to_others(where):
    param = torch.nn.Parameter(randn(3, 4))
    param.grad = randn(3, 4, seed=1)
    (param.grad if where == "grad" else param.data)[1, 2] = math.inf if where == "weight" else math.nan
    SGDP([param], lr=0.1, delta=1e9, weight_decay=0.1).step()
    assert torch.isfinite(param).sum() == param.numel() - 1


def test_norms_in_the_cosine_are_at_least_eps():
    weight = torch.full((1, 4), 1e-10, dtype=F64)  # |weight| = 2e-10: the cosine 1 becomes 2e-2 < 0.1 / 2
    assert decide(torch.ones(1, 4, dtype=F64), weight) is Decision.CHANNEL
    assert decide(torch.ones(1, 4, dtype=F64), weight, eps=1e-12) is Decision.NONE


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("channel_dim", [0, 1, -1])
def test_the_projection_is_orthogonal_to_the_weight_and_removes_only_the_radial_part(per_channel, channel_dim):
    weight, step = randn(4, 5, 6), randn(4, 5, 6, seed=1)
    kept = (weight.clone(), step.clone())
    projected = project_onto_tangent(step, weight, per_channel=per_channel, eps=0.0, channel_dim=channel_dim)
    assert torch.equal(weight, kept[0])
    assert torch.equal(step, kept[1])
    vectors = [x.movedim(channel_dim, 0).flatten(1) for x in (projected, weight, step - projected)]
    if not per_channel:
        vectors = [x.reshape(1, -1) for x in vectors]
    projected, weight, removed = vectors
    assert (projected * weight).sum(1).abs().max() < 1e-13
    cos = (removed * weight).sum(1).abs() / (removed.norm(dim=1) * weight.norm(dim=1))
    assert torch.allclose(cos, torch.ones_like(cos), atol=1e-14)


def test_the_projection_is_idempotent():
    weight, step = randn(4, 5), randn(4, 5, seed=1)
    once = project_onto_tangent(step, weight, per_channel=True, eps=0.0)
    twice = project_onto_tangent(once, weight, per_channel=True, eps=0.0)
    assert torch.allclose(once, twice, rtol=0, atol=1e-14)


@pytest.mark.parametrize("optimizer", [AdamP, SGDP])
def test_vectors_and_scalars_are_never_projected(optimizer):
    params = [torch.nn.Parameter(torch.zeros(5)), torch.nn.Parameter(torch.tensor(0.0))]
    for param in params:
        param.grad = torch.zeros_like(param)
    subject = optimizer(params, lr=0.1, delta=1e9)
    subject.step()
    assert [d.decision for d in subject.diagnostics().values()] == [Decision.NONE, Decision.NONE]


def strided_variants(weight):
    yield weight.clone().contiguous(memory_format=torch.channels_last)
    yield weight.clone().permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)
    yield torch.cat([weight, weight], dim=1)[:, ::2][:, : weight.size(1)].copy_(weight)


@pytest.mark.parametrize("optimizer", [AdamP, SGDP])
def test_strides_do_not_matter(optimizer):
    weight, grad = randn(4, 6, 3, 3), randn(4, 6, 3, 3, seed=1)
    results = []
    for variant in [weight.clone(), *strided_variants(weight)]:
        param = torch.nn.Parameter(variant)
        subject = optimizer([param], lr=0.1, delta=1e9, weight_decay=0.1)
        for k in range(3):
            param.grad = torch.empty_like(param).copy_(grad + k)
            subject.step()
        assert param.stride() == variant.stride()
        results.append(param.detach().clone())
    assert all(torch.allclose(result, results[0], rtol=0, atol=1e-14) for result in results)


def train(model, optimizer_class, **hyper):
    torch.manual_seed(0)
    optimizer = optimizer_class([m.weight for m in model if isinstance(m, torch.nn.Conv2d)], **hyper)
    for _ in range(20):
        inputs, labels = torch.randn(16, 3, 8, 8), torch.randint(8, (16,))
        torch.nn.functional.cross_entropy(model(inputs).mean((2, 3)), labels).backward()
        optimizer.step()
        optimizer.zero_grad()
    return list(optimizer.diagnostics().values())


@pytest.mark.parametrize(
    ("norm", "counts"),
    [(lambda: torch.nn.BatchNorm2d(8), (20, 0)), (lambda: torch.nn.GroupNorm(1, 8), (0, 20))],
    ids=["batch", "group"],
)
def test_batch_norm_convolutions_are_projected_per_channel_and_group_norm_ones_as_a_layer(norm, counts):
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, bias=False), norm(), torch.nn.ReLU())
    (first,) = train(model, AdamP, lr=1e-3)
    assert (first.n_projected_channel, first.n_projected_layer) == counts
    assert first.n_steps == 20
    assert first.share_projected == 1.0
