"""`capturable`: steps counted on the parameter's device and never read on the host, in plain torch."""

import pytest
import torch

from adamp import SGDP, AdamP, functional
from adamp.diagnostics import new_record
from tests.unit.adamp.test_step import CountHostReads

F32, F64 = torch.float32, torch.float64


def run(*, dtype, n_steps=10, **hyper):
    generator = torch.Generator().manual_seed(0)
    param = torch.nn.Parameter(torch.randn(4, 3, generator=generator).to(dtype))
    subject = AdamP([param], lr=0.1, weight_decay=0.1, fused=False, **hyper)
    for _ in range(n_steps):
        param.grad = torch.randn(4, 3, generator=generator).to(dtype)
        subject.step()
    return subject, param.detach()


@pytest.mark.parametrize(("dtype", "tolerance"), [(F64, 1e-14), (F32, 1e-6)], ids=str)
@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.0, 0.5)])
def test_a_capturable_step_equals_one_that_is_not(dtype, tolerance, betas):
    captured, plain = (run(dtype=dtype, betas=betas, capturable=value)[1] for value in (True, False))
    assert captured.dtype == dtype
    assert torch.allclose(captured, plain, rtol=tolerance, atol=0)


@pytest.mark.parametrize(("capturable", "n_reads"), [(True, 0), (False, 1)])
def test_a_capturable_step_reads_nothing_on_the_host(capturable, n_reads):
    subject, _ = run(dtype=F32, capturable=capturable)
    with CountHostReads() as mode:
        subject.step()
    assert mode.n_reads == n_reads


def test_the_function_is_not_capturable_unless_said():
    weight = torch.ones(2, 2)
    state = [[torch.zeros(2, 2)], [torch.zeros(2, 2)], [torch.tensor(0.0)], [new_record(weight, F32)]]
    hyper = {"lr": 0.1, "beta1": 0.9, "beta2": 0.9, "eps": 1e-8, "weight_decay": 0.0, "delta": 0.1, "wd_ratio": 0.1}
    with CountHostReads() as mode:
        functional.adamp([weight], [weight], *state, nesterov=False, channel_dim=0, maximize=False, **hyper)
    assert mode.n_reads == 1


@pytest.mark.parametrize(("capturable", "device"), [(True, "meta"), (False, "cpu")])
def test_steps_are_counted_on_the_device_only_if_capturable(capturable, device):
    param = torch.nn.Parameter(torch.ones(2, 2, device="meta"))
    param.grad = torch.ones_like(param)
    subject = AdamP([param], capturable=capturable)
    for _ in range(2):
        subject.step()
    assert subject.state[param]["step"].device.type == device


def test_steps_are_counted_in_float32_whatever_torchs_default():
    torch.set_default_dtype(F64)
    try:
        subject, _ = run(dtype=F64, n_steps=1)
    finally:
        torch.set_default_dtype(F32)
    assert {state["step"].dtype for state in subject.state.values()} == {F32}


def test_dampening_of_1_is_allowed_and_takes_no_step():
    param = torch.nn.Parameter(torch.ones(2, 2))
    param.grad = torch.ones(2, 2)
    SGDP([param], lr=0.1, dampening=1.0).step()
    assert torch.equal(param.detach(), torch.ones(2, 2))
