"""Where the projection is off, these are torch's optimizers."""

import pytest
import torch

from adamp import SGDP, SGDW, AdamP

SHAPES = [(4, 3, 3, 3), (5, 7), (6,), ()]


def run(make_optimizer, dtype=torch.float64, n_steps=50, sign=1.0):
    generator = torch.Generator().manual_seed(0)
    params = [torch.nn.Parameter(torch.randn(s, dtype=dtype, generator=generator)) for s in SHAPES]
    optimizer = make_optimizer(params)
    for _ in range(n_steps):
        for param in params:
            param.grad = sign * torch.randn(param.shape, dtype=dtype, generator=generator)
        optimizer.step()
    return [param.detach() for param in params]


def assert_close(ours, theirs, tolerance):
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_adamp_with_delta_zero_is_adamw(weight_decay):
    hyper = {"lr": 0.01, "weight_decay": weight_decay}
    ours = run(lambda params: AdamP(params, delta=0, **hyper))
    assert_close(ours, run(lambda params: torch.optim.AdamW(params, **hyper)), 1e-13)


@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_sgdw_without_decay_is_sgd(momentum, nesterov):
    hyper = {"lr": 0.1, "momentum": momentum, "nesterov": nesterov}
    ours = run(lambda params: SGDW(params, **hyper))
    assert_close(ours, run(lambda params: torch.optim.SGD(params, **hyper)), 1e-13)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("changes", [{}, {"nesterov": True}, {"dampening": 0.5}, {"momentum": 0.0}], ids=str)
def test_sgdp_with_delta_zero_is_sgdw_bit_for_bit(changes, dtype):
    hyper = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, **changes}
    ours = run(lambda params: SGDP(params, delta=0, **hyper), dtype)
    theirs = run(lambda params: SGDW(params, **hyper), dtype)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgdw_removes_lr_times_decay_over_one_minus_momentum(momentum):
    param = torch.nn.Parameter(torch.full((3, 2), 2.0, dtype=torch.float64))
    param.grad = torch.zeros_like(param)
    SGDW([param], lr=0.1, momentum=momentum, weight_decay=0.02).step()
    expected = torch.full_like(param, 2.0 * (1 - 0.1 * 0.02 / (1 - momentum)))
    torch.testing.assert_close(param.detach(), expected, rtol=1e-15, atol=0)


@pytest.mark.parametrize(
    ("optimizer", "hyper"),
    [(AdamP, {}), (SGDP, {"lr": 0.1, "momentum": 0.9}), (SGDW, {"lr": 0.1, "momentum": 0.9})],
)
def test_maximize_is_descent_on_the_negated_gradient(optimizer, hyper):
    ascended = run(lambda params: optimizer(params, maximize=True, **hyper))
    descended = run(lambda params: optimizer(params, **hyper), sign=-1.0)
    assert all(torch.equal(a, b) for a, b in zip(ascended, descended, strict=True))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("shape", [(), (1,)])
@pytest.mark.parametrize("optimizer", [AdamP, SGDP, SGDW])
def test_a_tensor_lr_gives_the_step_of_the_number_and_follows_its_changes(optimizer, shape, dtype):
    lr = torch.full(shape, 0.125, dtype=torch.float64)

    def changing(params):
        subject = optimizer(params, lr=lr, weight_decay=0.01)
        subject.register_step_post_hook(lambda *_: lr.mul_(0.5))
        return subject

    def scheduled(params):
        subject = optimizer(params, lr=0.125, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.ExponentialLR(subject, 0.5)
        subject.register_step_post_hook(lambda *_: schedule.step())
        return subject

    with_tensor, with_number = run(changing, dtype, n_steps=5), run(scheduled, dtype, n_steps=5)
    assert_close(with_tensor, with_number, 1e-15 if dtype == torch.float64 else 1e-6)
