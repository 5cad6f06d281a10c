"""What the paper proves about norms, as exact identities in float64 (eps = 0)."""

import math

import pytest
import torch

from adamp import SGDP, SGDW

F64 = torch.float64


def scale_invariant_loss(weight, target):
    """1 - cos(weight, target): does not depend on |weight|, so weight . grad = 0."""
    return 1 - (weight * target).sum() / (weight.norm() * target.norm())


def problem(seed=0, shape=(1, 6)):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.nn.Parameter(torch.randn(shape, dtype=F64, generator=generator))
    return weight, torch.randn(shape, dtype=F64, generator=generator)


def descend(optimizer, weight, target, n_steps):
    """Yield (weight before, weight after) of each step."""
    for _ in range(n_steps):
        before = weight.detach().clone()
        optimizer.zero_grad()
        scale_invariant_loss(weight, target).backward()
        optimizer.step()
        yield before, weight.detach().clone()


def square(x):
    return float((x * x).sum())


def test_gradient_descent_grows_the_squared_norm_by_the_squared_step():
    weight, target = problem()
    for before, after in descend(SGDW([weight], lr=0.5), weight, target, 30):
        assert square(after) == pytest.approx(square(before) + square(after - before), rel=1e-13)


@pytest.mark.parametrize("momentum", [0.5, 0.9, 0.99])
def test_momentum_adds_twice_the_discounted_sum_of_all_former_squared_steps(momentum):
    weight, target = problem()
    lr, former = 0.1, 0.0
    for before, after in descend(SGDW([weight], lr=lr, momentum=momentum), weight, target, 30):
        velocity_sq = square((after - before) / lr)
        expected = square(before) + lr**2 * velocity_sq + 2 * lr**2 * former
        assert square(after) == pytest.approx(expected, rel=1e-12)
        former = momentum * (former + velocity_sq)


@pytest.mark.parametrize("nesterov", [False, True])
def test_with_projection_that_sum_vanishes(nesterov):
    weight, target = problem()
    optimizer = SGDP([weight], lr=0.1, momentum=0.9, nesterov=nesterov, eps=0.0)
    for before, after in descend(optimizer, weight, target, 30):
        assert square(after) == pytest.approx(square(before) + square(after - before), rel=1e-13)
    assert optimizer.diagnostics()[0, 0].share_projected == 1.0


def test_the_projected_step_is_orthogonal_to_the_weight_and_stays_on_the_great_circle():
    weight, target = problem()
    optimizer = SGDP([weight], lr=0.3, momentum=0.9, eps=0.0)
    for before, after in descend(optimizer, weight, target, 10):
        buffer = optimizer.state[weight]["momentum_buffer"]
        assert abs(float(((after - before) * before).sum())) < 1e-14 * square(before)
        # The plane of the unprojected update holds the projected one: only the length along it changes.
        plane = torch.linalg.qr(torch.stack([before.flatten(), buffer.flatten()]).T).Q
        outside = after.flatten() - plane @ (plane.T @ after.flatten())
        assert float(outside.norm()) < 1e-14 * float(after.norm())


def drive_with_unit_velocity(momentum, n_steps, lr):
    """SGDW on gradients orthogonal to the weight that keep the momentum buffer at norm 1."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.nn.Parameter(torch.zeros(1, 50, dtype=F64))
    weight.data[0, 0] = 100.0
    velocity = torch.zeros_like(weight)
    optimizer = SGDW([weight], lr=lr, momentum=momentum)
    for _ in range(n_steps):
        unit = weight.detach() / weight.detach().norm()
        radial = momentum * float((velocity * unit).sum())  # what an orthogonal gradient leaves unchanged
        noise = torch.randn(weight.shape, dtype=F64, generator=generator)
        tangent = noise - unit * (noise * unit).sum()
        wanted = radial * unit + math.sqrt(1 - radial**2) * tangent / tangent.norm()
        weight.grad = wanted - momentum * velocity
        velocity = wanted
        optimizer.step()
    return square(weight.detach()) - 100.0**2


@pytest.mark.parametrize(("momentum", "limit"), [(0.9, 19), (0.99, 199)])
def test_the_growth_ratio_to_gradient_descent_tends_to_19_and_199(momentum, limit):
    n_steps, lr = 3000, 0.01
    ratio = drive_with_unit_velocity(momentum, n_steps, lr) / (n_steps * lr**2)
    exact = 1 + 2 / n_steps * sum(momentum * (1 - momentum**t) / (1 - momentum) for t in range(n_steps))
    assert ratio == pytest.approx(exact, rel=1e-6)
    assert ratio == pytest.approx(limit, rel=0.05)


def final_norm(optimizer_class, momentum):
    weight = torch.nn.Parameter(torch.tensor([[1.0, 0.0]], dtype=F64))
    target = torch.tensor([[math.cos(2.0), math.sin(2.0)]], dtype=F64)
    for _ in descend(optimizer_class([weight], lr=0.1, momentum=momentum), weight, target, 200):
        pass
    return float(weight.detach().norm())


@pytest.mark.parametrize("momentum", [0.9, 0.95, 0.99])
def test_on_the_papers_2d_toy_the_norm_grows_less_with_projection(momentum):
    assert 1 < final_norm(SGDP, momentum) < final_norm(SGDW, momentum)


def test_on_the_papers_2d_toy_more_momentum_grows_the_norm_more():
    assert final_norm(SGDW, 0.0) < final_norm(SGDW, 0.9) < final_norm(SGDW, 0.95) < final_norm(SGDW, 0.99)
