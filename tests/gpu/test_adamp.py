"""The Triton path on a real GPU. Run with `pytest tests/gpu -m gpu`; without a device every test is skipped."""

import pytest
import torch

import adamp
from adamp import SGDP, AdamP
from tests.unit.adamp.cases import VALID, gradient
from tests.unit.adamp.test_against_reference import NAMES

pytestmark = pytest.mark.gpu
F32, BF16, F16 = torch.float32, torch.bfloat16, torch.float16
SHAPES = [(), (7,), (64, 147), (128, 64, 3, 3), (1000, 512), (3, 20_000), (5000, 1)]
OPTIMIZERS = [
    (AdamP, {"lr": 0.01, "weight_decay": 0.05}),
    (AdamP, {"lr": 0.01, "nesterov": True}),
    (SGDP, {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.01}),
]
every_optimizer = pytest.mark.parametrize(("optimizer", "hyper"), OPTIMIZERS)


def make(optimizer, hyper, *, dtype=F32, shapes=SHAPES, **changes):
    """Parameters with gradients on the GPU, and their optimizer."""
    generator = torch.Generator().manual_seed(0)
    params = [torch.nn.Parameter(torch.randn(shape, generator=generator).to("cuda", dtype)) for shape in shapes]
    for i, param in enumerate(params):
        kind = ("channel", "none", "layer", "random")[i % 4]
        param.grad = gradient(kind, param.detach().double().cpu(), generator).to("cuda", dtype)
    return params, optimizer(params, **{**hyper, **changes})


def test_the_triton_path_is_the_one_that_runs():
    assert adamp.paths()["cuda"].startswith("triton")


@pytest.mark.parametrize("case", VALID, ids=str)
def test_float32_stays_within_rounding_of_the_reference_and_decides_alike(case):
    generator = torch.Generator().manual_seed(0)
    start = [torch.randn(shape, dtype=torch.float64, generator=generator).float() for shape in SHAPES]
    params = [torch.nn.Parameter(weight.cuda()) for weight in start]
    optimizer = case.optimizer(params, **case.hyper)
    references = [case.reference(weight.double().numpy(), **case.hyper) for weight in start]
    for t in range(20):
        expected = []
        for i, (param, reference) in enumerate(zip(params, references, strict=True)):
            kind = ("channel", "none", "layer", "random")[(t + i) % 4]
            grad = gradient(kind, torch.as_tensor(reference.weight), generator).float()
            param.grad = grad.cuda()
            expected.append(reference.step(grad.double().numpy()))
        optimizer.step()
        assert [NAMES[d.decision] for d in optimizer.diagnostics().values()] == expected
    for param, weight, reference in zip(params, start, references, strict=True):
        moved = (torch.as_tensor(reference.weight) - weight.double()).abs().max() + 0.1 * weight.double().abs().max()
        error = (param.detach().cpu().double() - torch.as_tensor(reference.weight)).abs().max()
        assert float(error / moved) < 2e-6


@every_optimizer
@pytest.mark.parametrize("dtype", [F32, BF16, F16], ids=str)
def test_triton_equals_plain_torch(optimizer, hyper, dtype):
    (ours, fast), (plain, slow) = make(optimizer, hyper, dtype=dtype), make(optimizer, hyper, dtype=dtype, fused=False)
    for _ in range(5):
        fast.step()
        slow.step()
    tolerance = 1e-5 if dtype == F32 else 8 * torch.finfo(dtype).eps
    for a, b in zip(ours, plain, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)
    decisions = [[d.decision for d in subject.diagnostics().values()] for subject in (fast, slow)]
    assert decisions[0] == decisions[1]


@every_optimizer
def test_a_second_run_gives_the_same_bits(optimizer, hyper):
    runs = [make(optimizer, hyper) for _ in range(2)]
    for _, subject in runs:
        for _ in range(5):
            subject.step()
    assert all(torch.equal(a, b) for a, b in zip(runs[0][0], runs[1][0], strict=True))


@every_optimizer
def test_what_the_sweep_expected_changes_no_bit(optimizer, hyper):
    (left_alone, first), (turned, second) = make(optimizer, hyper), make(optimizer, hyper)
    for _ in range(5):
        first.step()
        second.step()
        for plan in second._plans.values():
            plan._modes.copy_(1 - plan._modes)
    assert all(torch.equal(a, b) for a, b in zip(left_alone, turned, strict=True))


@every_optimizer
def test_a_step_never_waits_for_the_device(optimizer, hyper):
    params, subject = make(optimizer, hyper)
    subject.step()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            for param in params:
                param.grad = param.grad.clone()  # new addresses, as after zero_grad(set_to_none=True)
            subject.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@every_optimizer
def test_a_step_launches_three_kernels(optimizer, hyper):
    _, subject = make(optimizer, hyper)
    subject.step()
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        subject.step()
        torch.cuda.synchronize()
    kernels = [event.name for event in profile.events() if event.device_type == torch.autograd.DeviceType.CUDA]
    assert len([name for name in kernels if "Memcpy" not in name and "Memset" not in name]) <= 3


@every_optimizer
def test_a_captured_step_replays_as_the_eager_one(optimizer, hyper):
    lr = torch.tensor(hyper["lr"], device="cuda")
    captured, subject = make(optimizer, {**hyper, "lr": lr}, **capturable(optimizer))
    eager, twin = make(optimizer, {**hyper, "lr": lr.clone()}, **capturable(optimizer))
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            subject.step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        subject.step()
    for _ in range(3):
        twin.step()
    for factor in (1.0, 0.5):
        lr.mul_(factor)
        twin.param_groups[0]["lr"].mul_(factor)
        graph.replay()
        twin.step()
    assert all(torch.equal(a, b) for a, b in zip(captured, eager, strict=True))


def capturable(optimizer):
    return {"capturable": True} if "capturable" in optimizer.hyperparameters else {}


@every_optimizer
def test_the_tables_are_less_than_1_percent_of_the_weights(optimizer, hyper):
    params, subject = make(optimizer, hyper, shapes=[(512, 512, 3, 3), (1000, 512)])
    subject.step()
    n_bytes = sum(plan.n_bytes for plan in subject._plans.values())
    assert n_bytes < 0.01 * sum(param.nbytes for param in params)
