"""What projection does to lengths and directions, as exact identities in float64 (eps = 0 in the projection)."""

import math

import pytest
import torch

from adamp import SGDP, SGDW, AdamP, Decision
from tests.unit.adamp.test_theory import descend, drive_with_unit_velocity, square

F64 = torch.float64
PROJECTED = [
    (AdamP, {"lr": 0.05}),
    (AdamP, {"lr": 0.05, "nesterov": True}),
    (SGDP, {"lr": 0.1, "momentum": 0.9}),
    (SGDP, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
]
every_projected = pytest.mark.parametrize(("optimizer", "hyper"), PROJECTED)


def draw(shape, seed=0):
    return torch.randn(shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


def rowwise_loss(weight, target):
    """Scale-invariant in every row."""
    rows, targets = weight.flatten(1), target.flatten(1)
    return (1 - (rows * targets).sum(1) / (rows.norm(dim=1) * targets.norm(dim=1))).sum()


def whole_loss(weight, target):
    """Scale-invariant in the whole tensor only."""
    return 1 - (weight * target).sum() / (weight.norm() * target.norm())


def walk(optimizer_class, hyper, loss, *, shape=(4, 5, 3), n_steps=20, scale=1.0):
    """Yield (weight before, after, optimizer) of each step."""
    weight, target = torch.nn.Parameter(draw(shape) * scale), draw(shape, seed=1)
    optimizer = optimizer_class([weight], eps=0.0, **hyper)
    for _ in range(n_steps):
        before = weight.detach().clone()
        optimizer.zero_grad()
        loss(weight, target).backward()
        optimizer.step()
        yield before, weight.detach().clone(), optimizer


@every_projected
def test_every_row_of_a_channel_projected_step_is_orthogonal_to_its_weight(optimizer, hyper):
    for before, after, subject in walk(optimizer, hyper, rowwise_loss):
        assert subject.diagnostics()[0, 0].decision is Decision.CHANNEL
        rows, steps = before.flatten(1), (after - before).flatten(1)
        assert ((rows * steps).sum(1).abs() <= 1e-13 * rows.norm(dim=1) * steps.norm(dim=1).clamp_min(1e-3)).all()
        grown = rows.square().sum(1) + steps.square().sum(1)
        assert torch.allclose(after.flatten(1).square().sum(1), grown, rtol=1e-12, atol=0)


@every_projected
def test_a_layer_projected_step_is_orthogonal_to_the_weight_as_a_whole(optimizer, hyper):
    for before, after, subject in walk(optimizer, hyper, whole_loss):
        assert subject.diagnostics()[0, 0].decision is Decision.LAYER
        assert square(after) == pytest.approx(square(before) + square(after - before), rel=1e-12)
        rows, steps = before.flatten(1), (after - before).flatten(1)
        assert (rows * steps).sum(1).abs().max() > 1e-6  # single rows are not


@pytest.mark.parametrize("nesterov", [False, True])
def test_adamps_projected_step_keeps_the_great_circle_of_adams(nesterov):
    hyper = {"lr": 0.05, "nesterov": nesterov}
    for before, after, subject in walk(AdamP, hyper, whole_loss, shape=(1, 6)):
        (state,) = subject.state.values()
        t = int(state["step"])
        grad = next(iter(subject.state)).grad
        numerator = 0.9 * state["exp_avg"] + 0.1 * grad if nesterov else state["exp_avg"]
        adam = numerator / (state["exp_avg_sq"] / (1 - 0.999**t)).sqrt()
        plane = torch.linalg.qr(torch.stack([before.flatten(), adam.flatten()]).T).Q
        outside = after.flatten() - plane @ (plane.T @ after.flatten())
        assert float(outside.norm()) < 1e-13 * float(after.norm())


@pytest.mark.parametrize("factor", [4.0, 0.25])
@pytest.mark.parametrize(
    ("optimizer", "hyper", "power"),
    [
        (AdamP, {"lr": 0.05}, 1),  # Adam's step does not depend on the gradient's length
        (SGDP, {"lr": 0.1, "momentum": 0.9}, 2),  # the gradient of a longer weight is shorter by the same factor
        (SGDP, {"lr": 0.1, "momentum": 0.9, "nesterov": True}, 2),
    ],
)
def test_only_lr_over_the_norm_matters_for_the_direction(optimizer, hyper, power, factor):
    # Powers of two: the two runs round alike, so that even the bits agree.
    scaled = {**hyper, "lr": hyper["lr"] * factor**power}
    runs = zip(walk(optimizer, hyper, rowwise_loss), walk(optimizer, scaled, rowwise_loss, scale=factor), strict=True)
    for (_, short, _), (_, long, _) in runs:
        assert torch.allclose(short * factor, long, rtol=1e-12, atol=0)


@pytest.mark.parametrize(("optimizer", "hyper"), PROJECTED)
def test_with_delta_zero_the_norm_grows_more(optimizer, hyper):
    ends = [[*walk(optimizer, {**hyper, "delta": delta}, rowwise_loss)][-1][1] for delta in (0.0, 0.1)]
    assert square(ends[0]) > square(ends[1])


def test_weight_decay_of_a_projected_step_is_scaled_by_wd_ratio_exactly():
    hyper = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.02, "wd_ratio": 0.25}
    for before, after, _ in walk(SGDP, hyper, rowwise_loss):
        share = 0.1 * 0.02 * 0.25 / (1 - 0.9)
        rows, rest = before.flatten(1), (after - (1 - share) * before).flatten(1)
        assert (rows * rest).sum(1).abs().max() < 1e-13 * float(rows.norm()) ** 2
        grown = (1 - share) ** 2 * rows.square().sum(1) + rest.square().sum(1)
        assert torch.allclose(after.flatten(1).square().sum(1), grown, rtol=1e-12, atol=0)


def test_without_projection_the_radial_part_of_momentum_is_the_whole_difference():
    """|w'|^2 = |w|^2 + lr^2 |p|^2 - 2 lr w.p, and w.p = momentum (w.p_before), because w.g = 0."""
    weight, target, lr, momentum = torch.nn.Parameter(draw((1, 6))), draw((1, 6), seed=1), 0.1, 0.9
    optimizer = SGDW([weight], lr=lr, momentum=momentum)
    former = torch.zeros(1, 6, dtype=F64)
    for before, after in descend(optimizer, weight, target, 30):
        step = optimizer.state[weight]["momentum_buffer"].clone()
        radial = momentum * float((before * former).sum())
        expected = square(before) + lr**2 * square(step) - 2 * lr * radial
        assert square(after) == pytest.approx(expected, rel=1e-12)
        former = step


@pytest.mark.parametrize(("momentum", "limit"), [(0.9, 19), (0.99, 199)])
def test_the_growth_ratio_approaches_its_limit_from_below_at_the_exact_rate(momentum, limit):
    """After n steps of equal length the gap is 2b (1 - b^n) / (n (1 - b)^2), from summing the geometric series."""
    ratios = []
    for n_steps in (500, 1000, 2000):
        ratio = drive_with_unit_velocity(momentum, n_steps, 0.01) / (n_steps * 0.01**2)
        gap = 2 * momentum * (1 - momentum**n_steps) / (n_steps * (1 - momentum) ** 2)
        assert limit - ratio == pytest.approx(gap, rel=1e-5)
        ratios.append(ratio)
    assert ratios == sorted(ratios)
    assert math.isclose(1 + 2 * momentum / (1 - momentum), limit)
