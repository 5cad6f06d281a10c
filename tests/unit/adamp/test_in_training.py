"""Around the step, in torch's own loops: hooks, scalers, schedulers, layers whose channels lie elsewhere."""

import copy

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from adamp import SGDP, SGDW, AdamP, Decision

OPTIMIZERS = [
    (AdamP, {"lr": 0.01, "weight_decay": 0.1}),
    (SGDP, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}),
    (SGDW, {"lr": 0.1, "momentum": 0.9}),
]
every_optimizer = pytest.mark.parametrize(("optimizer", "hyper"), OPTIMIZERS)


def make_params(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape in [(4, 3), (2, 3, 3), (5,)]]


def give_gradients(params, seed, factor=1.0):
    generator = torch.Generator().manual_seed(seed)
    for param in params:
        param.grad = factor * torch.randn(param.shape, generator=generator).to(param.dtype)


@every_optimizer
def test_a_pre_hook_may_change_gradients_and_a_post_hook_sees_the_new_weights(optimizer, hyper):
    params, halved = make_params(), make_params()
    subject, twin = optimizer(params, **hyper), optimizer(halved, **hyper)
    order = []

    def halve(opt, args, kwargs):
        order.append("pre")
        for param in params:
            param.grad.mul_(0.5)

    def note(opt, args, kwargs):
        order.append("post")
        assert all(torch.equal(a, b) for a, b in zip(params, halved, strict=True))

    subject.register_step_pre_hook(halve)
    subject.register_step_post_hook(note)
    for seed in range(3):
        give_gradients(params, seed)
        give_gradients(halved, seed, 0.5)
        twin.step()
        subject.step()
    assert order == ["pre", "post"] * 3


def test_hooks_on_all_optimizers_run_for_ours_too():
    seen = []
    hooks = [
        register_optimizer_step_pre_hook(lambda *_: seen.append("pre")),
        register_optimizer_step_post_hook(lambda *_: seen.append("post")),
    ]
    try:
        params = make_params()
        give_gradients(params, 0)
        AdamP(params).step()
    finally:
        for hook in hooks:
            hook.remove()
    assert seen == ["pre", "post"]


@every_optimizer
def test_scaled_steps_are_the_unscaled_ones_bit_for_bit(optimizer, hyper):
    # The scale is a power of two, so that scaling loses nothing.
    params, others = make_params(), make_params()
    subject, twin = optimizer(params, **hyper), optimizer(others, **hyper)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=2)
    for _ in range(5):
        for one, weights in ((subject, params), (twin, others)):
            one.zero_grad()
            loss = sum((weight.sin() * weight).sum() for weight in weights)
            (scaler.scale(loss) if one is subject else loss).backward()
        scaler.step(subject)
        scaler.update()
        twin.step()
    assert scaler.get_scale() == 2.0**12
    assert all(torch.equal(a, b) for a, b in zip(params, others, strict=True))


@every_optimizer
def test_a_scaler_that_finds_infinity_skips_the_step_and_no_state_appears(optimizer, hyper):
    params = make_params()
    kept = copy.deepcopy(params)
    subject = optimizer(params, **hyper)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    scaler.scale(sum(param.sum() for param in params)).backward()
    params[1].grad[0, 0, 0] = torch.inf
    scaler.step(subject)
    scaler.update()
    assert scaler.get_scale() == 2.0
    assert not subject.state
    assert all(torch.equal(a, b) for a, b in zip(params, kept, strict=True))


@pytest.mark.parametrize(("optimizer", "hyper"), OPTIMIZERS[:2])
def test_clipping_between_unscaling_and_the_step_works(optimizer, hyper):
    params = make_params()
    subject = optimizer(params, **hyper)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    scaler.scale(sum(param.square().sum() for param in params)).backward()
    scaler.unscale_(subject)
    norm = nn.utils.clip_grad_norm_(params, 1.0)
    scaler.step(subject)
    assert norm > 1
    assert subject.diagnostics()[0, 0].n_steps == 1


@every_optimizer
@pytest.mark.parametrize("is_tensor", [False, True])
def test_schedulers_drive_the_learning_rate(optimizer, hyper, is_tensor):
    lr = hyper["lr"]
    params = make_params()
    subject = optimizer(params, **{**hyper, "lr": torch.tensor(lr) if is_tensor else lr})
    scheduler = CosineAnnealingLR(subject, T_max=4)
    told = []
    for seed in range(4):
        give_gradients(params, seed)
        subject.step()
        diagnosed = subject.diagnostics()[0, 0]
        told.append(diagnosed.effective_lr * diagnosed.weight_norm**2)
        scheduler.step()
    expected = [lr * (1 + torch.cos(torch.tensor(torch.pi * t / 4)).item()) / 2 for t in range(4)]
    assert told == pytest.approx(expected, rel=1e-5)


@every_optimizer
def test_a_scheduler_that_cycles_the_momentum_finds_it(optimizer, hyper):
    params = make_params()
    subject = optimizer(params, **hyper)
    scheduler = OneCycleLR(subject, max_lr=0.1, total_steps=10, base_momentum=0.8, max_momentum=0.95)
    for seed in range(5):
        give_gradients(params, seed)
        subject.step()
        scheduler.step()
    group = subject.param_groups[0]
    now = group["betas"][0] if optimizer is AdamP else group["momentum"]
    assert 0.8 < now < 0.95
    resumed = optimizer(make_params(), lr=0.1)
    resumed.load_state_dict(subject.state_dict())
    assert resumed.param_groups[0]["max_momentum"] == 0.95


@pytest.mark.parametrize("fused", [False, None])
@pytest.mark.parametrize(("channel_dim", "expected"), [(1, Decision.CHANNEL), (0, Decision.LAYER)])
def test_a_transposed_convolution_is_projected_per_channel_where_its_group_says_so(channel_dim, expected, fused):
    torch.manual_seed(0)
    layer, norm = nn.ConvTranspose2d(8, 6, 3, bias=False), nn.BatchNorm2d(6)
    weights = torch.randn(16, 6, 6, 6)
    subject = AdamP([{"params": layer.parameters(), "channel_dim": channel_dim}], fused=fused)
    (norm(layer(torch.randn(16, 8, 4, 4))) * weights).sum().backward()
    subject.step()
    assert subject.diagnostics()[0, 0].decision is expected


@pytest.mark.parametrize("fused", [False, None])
def test_every_row_of_an_embedding_is_a_channel(fused):
    torch.manual_seed(0)
    table = nn.Embedding(7, 5)
    subject = SGDP(table.parameters(), lr=0.1, fused=fused)
    unit = nn.functional.normalize(table(torch.arange(7)), dim=1)  # the loss does not see a row's length
    (unit * torch.randn(7, 5)).sum().backward()
    lengths = table.weight.detach().norm(dim=1)
    subject.step()
    assert subject.diagnostics()[0, 0].decision is Decision.CHANNEL
    assert (table.weight.detach().norm(dim=1) >= lengths).all()


@every_optimizer
@pytest.mark.parametrize("changes", [{}, {"fused": False}, {"nesterov": True}])
def test_fake_tensors_take_steps(optimizer, hyper, changes):
    # They have no values: torch's estimates of memory and time run a training on them.
    with FakeTensorMode():
        layer = nn.Linear(4, 3)
        subject = optimizer(layer.parameters(), **hyper, **changes)
        for _ in range(3):
            subject.zero_grad()
            layer(torch.ones(2, 4)).sum().backward()
            subject.step()
    assert {value.shape for value in subject.state[layer.weight].values()} <= {(3, 4), ()}
    assert subject.state[layer.weight]


@every_optimizer
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_deterministic_run_resumed_at_any_step_ends_with_the_same_bits(optimizer, hyper, dtype):
    # Long rows and changing decisions: the native step then has guesses, which a new optimizer has not.
    shape, n_steps = (60, 700), 6
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(9)).to(dtype)

    def take(subject, param, steps):
        for step in steps:
            give_gradients([param], step)
            if step % 3:  # of no direction of its own: projected; else along the weight: not
                param.grad -= (param.grad * param.detach()).sum() / param.detach().square().sum() * param.detach()
            else:
                param.grad += param.detach()
            subject.step()

    whole = nn.Parameter(weight.clone())
    take(optimizer([whole], deterministic=True, **hyper), whole, range(n_steps))
    for stop in range(1, n_steps):
        first = nn.Parameter(weight.clone())
        subject = optimizer([first], deterministic=True, **hyper)
        take(subject, first, range(stop))
        second = nn.Parameter(first.detach().clone())
        resumed = optimizer([second], deterministic=True, **hyper)
        resumed.load_state_dict(subject.state_dict())
        take(resumed, second, range(stop, n_steps))
        assert torch.equal(second, whole)
