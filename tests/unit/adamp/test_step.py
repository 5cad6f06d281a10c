"""Behaviour of `step` that torch.optim's users rely on."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from adamp import SGDP, SGDW, AdamP

OPTIMIZERS = [
    (AdamP, {"weight_decay": 0.1}),
    (AdamP, {"nesterov": True}),
    (SGDP, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}),
    (SGDP, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    (SGDW, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}),
]
every_optimizer = pytest.mark.parametrize(("optimizer", "hyper"), OPTIMIZERS)


def params_with_grad(dtype=torch.float32, device="cpu"):
    generator = torch.Generator().manual_seed(0)
    params = []
    for shape in [(4, 3, 2, 2), (5, 3), (3,), (), (0, 2)]:
        param = torch.nn.Parameter(torch.randn(shape, generator=generator).to(dtype=dtype, device=device))
        param.grad = torch.randn(shape, generator=generator).to(dtype=dtype, device=device)
        params.append(param)
    return params


@every_optimizer
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("maximize", [False, True])
def test_gradients_are_not_modified(optimizer, hyper, dtype, maximize):
    params = params_with_grad(dtype)
    kept = [param.grad.clone() for param in params]
    subject = optimizer(params, maximize=maximize, **hyper)
    for _ in range(2):
        subject.step()
        assert all(torch.equal(param.grad, grad) for param, grad in zip(params, kept, strict=True))


@every_optimizer
def test_a_closure_runs_once_with_gradients_enabled_and_its_loss_is_returned(optimizer, hyper):
    weight = torch.nn.Parameter(torch.ones(2, 2))
    subject = optimizer([weight], **hyper)
    calls = []

    def closure():
        calls.append(torch.is_grad_enabled())
        subject.zero_grad()
        loss = weight.square().sum()
        loss.backward()
        return loss

    with torch.no_grad():
        loss = subject.step(closure)
    assert calls == [True]
    assert loss == 4
    assert not torch.equal(weight, torch.ones(2, 2))


@every_optimizer
def test_without_a_closure_step_returns_none_and_leaves_gradient_mode_alone(optimizer, hyper):
    assert optimizer(params_with_grad(), **hyper).step() is None
    assert torch.is_grad_enabled()


@every_optimizer
def test_a_parameter_without_gradient_is_left_alone_and_gets_no_state(optimizer, hyper):
    params = params_with_grad()
    params[0].grad = None
    kept = params[0].detach().clone()
    subject = optimizer(params, **hyper)
    subject.step()
    assert torch.equal(params[0], kept)
    assert params[0] not in subject.state
    assert (0, 0) not in subject.diagnostics()


@every_optimizer
def test_step_hooks_run_around_the_step(optimizer, hyper):
    subject = optimizer(params_with_grad(), **hyper)
    seen = []
    subject.register_step_pre_hook(lambda opt, _, __: seen.append(len(opt.diagnostics())))
    subject.register_step_post_hook(lambda opt, _, __: seen.append(len(opt.diagnostics())))
    subject.step()
    assert seen == [0, 5]


@every_optimizer
def test_add_param_group_extends_a_running_optimizer(optimizer, hyper):
    first, second = params_with_grad()[0], params_with_grad()[1]
    subject = optimizer([first], **hyper)
    subject.step()
    subject.add_param_group({"params": [second], "lr": 0.0})
    kept = second.detach().clone()
    subject.step()
    assert torch.equal(second, kept)
    assert [d.n_steps for d in subject.diagnostics().values()] == [2, 1]
    assert list(subject.diagnostics()) == [(0, 0), (1, 0)]


@every_optimizer
def test_empty_and_0_dim_parameters_take_steps(optimizer, hyper):
    params = params_with_grad()
    subject = optimizer(params, **hyper)
    subject.step()
    assert subject.diagnostics()[0, 3].n_steps == subject.diagnostics()[0, 4].n_steps == 1
    assert params[4].shape == (0, 2)


@every_optimizer
def test_gradient_accumulation_into_one_buffer_does_not_change_the_state(optimizer, hyper):
    params = params_with_grad()
    subject = optimizer(params, **hyper)
    subject.step()
    kept = [t.clone() for state in subject.state.values() for t in state.values()]
    for param in params:
        param.grad.zero_()
    now = [t for state in subject.state.values() for t in state.values()]
    assert all(torch.equal(a, b) for a, b in zip(kept, now, strict=True))


@every_optimizer
def test_a_step_never_reads_a_device_tensor_on_the_host(optimizer, hyper):
    # Meta tensors have no values: .item(), bool() and copies to the host raise.
    params = params_with_grad(device="meta")
    subject = optimizer(params, **hyper)
    for _ in range(2):
        subject.step()
    subject.reset_diagnostics()


class CountHostReads(TorchDispatchMode):
    """Counts `.item()` and its kin."""

    n_reads = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.n_reads += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("optimizer", "hyper", "n_per_parameter"), [(AdamP, {}, 1), (SGDP, {"lr": 0.1}, 0)])
def test_only_the_step_count_which_lies_on_the_cpu_is_read(optimizer, hyper, n_per_parameter):
    params = params_with_grad()
    subject = optimizer(params, fused=False, **hyper)
    with CountHostReads() as mode:
        subject.step()
    assert mode.n_reads == n_per_parameter * len(params)


@every_optimizer
def test_the_state_of_16_bit_weights_is_float32(optimizer, hyper):
    subject = optimizer(params_with_grad(torch.bfloat16), **hyper)
    subject.step()
    assert {t.dtype for state in subject.state.values() for t in state.values()} == {torch.float32}


def test_the_state_has_torchs_names():
    adamp, sgdp = AdamP(params_with_grad()), SGDP(params_with_grad(), lr=0.1, momentum=0.9)
    adamp.step()
    sgdp.step()
    assert all(list(state) == ["step", "exp_avg", "exp_avg_sq"] for state in adamp.state.values())
    assert all(list(state) == ["momentum_buffer"] for state in sgdp.state.values())


def test_without_momentum_sgdp_keeps_no_state():
    subject = SGDP(params_with_grad(), lr=0.1)
    subject.step()
    assert not subject.state


def test_grad_scaler_works_around_the_step():
    params = params_with_grad()
    subject = AdamP(params)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    loss = sum(param.square().sum() for param in params)
    subject.zero_grad()
    scaler.scale(loss).backward()
    scaler.step(subject)
    scaler.update()
    assert subject.diagnostics()[0, 0].n_steps == 1
