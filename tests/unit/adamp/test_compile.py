"""torch.compile takes the plain path whole."""

import pytest
import torch

from adamp import SGDP, SGDW, AdamP, functional
from adamp.diagnostics import new_record

ADAMP = {
    "lr": 0.01,
    "beta1": 0.9,
    "beta2": 0.999,
    "eps": 1e-8,
    "weight_decay": 0.1,
    "delta": 0.1,
    "wd_ratio": 0.1,
    "nesterov": False,
    "channel_dim": 0,
    "maximize": False,
}
SGDP_ = {
    **{name: ADAMP[name] for name in ("lr", "eps", "weight_decay", "delta", "wd_ratio", "channel_dim")},
    "momentum": 0.9,
    "dampening": 0.1,
    "nesterov": False,
    "maximize": False,
}
SGDW_NAMES = ("lr", "momentum", "dampening", "weight_decay", "nesterov", "maximize")


@pytest.fixture(autouse=True)
def nothing_compiled():
    """torch compiles one function at most eight times."""
    torch.compiler.reset()


def adamp_inputs():
    generator = torch.Generator().manual_seed(0)
    params = [torch.randn(shape, generator=generator) for shape in [(4, 3), (3,), ()]]
    grads = [torch.randn(p.shape, generator=generator) for p in params]
    state = ([torch.zeros_like(p) for p in params], [torch.zeros_like(p) for p in params])
    steps = [torch.zeros(()) for _ in params]
    return params, grads, *state, steps, [new_record(p, torch.float32) for p in params]


def momentum_inputs():
    params, grads, buffers, _, _, records = adamp_inputs()
    return params, grads, buffers, records


UPDATES = [
    (functional.adamp, ADAMP, adamp_inputs),
    (functional.adamp, {**ADAMP, "nesterov": True, "capturable": True, "maximize": True}, adamp_inputs),
    (functional.sgdp, SGDP_, momentum_inputs),
    (functional.sgdp, {**SGDP_, "nesterov": True, "dampening": 0.0}, momentum_inputs),
    (functional.sgdw, {name: SGDP_[name] for name in SGDW_NAMES}, momentum_inputs),
]


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize(("update", "hyper", "make_inputs"), UPDATES)
def test_the_update_is_one_graph_and_equals_the_eager_one(update, hyper, make_inputs, backend):
    @torch.compile(fullgraph=True, backend=backend)
    def compiled(*tensors):
        with torch.no_grad():
            update(*tensors, **hyper)

    ours, eager = make_inputs(), make_inputs()
    for _ in range(3):
        compiled(*ours)
        update(*eager, **hyper)
    for a, b in zip(ours, eager, strict=True):
        for x, y in zip(a, b, strict=True):
            torch.testing.assert_close(x, y, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("fused", [False, None])
@pytest.mark.parametrize(
    ("optimizer", "hyper"),
    [
        (AdamP, {}),
        (AdamP, {"capturable": True, "weight_decay": 0.1}),
        (AdamP, {"lr": torch.tensor(0.1)}),
        (SGDP, {"momentum": 0.9}),
        (SGDW, {"momentum": 0.9}),
    ],
)
def test_a_whole_optimizer_step_is_one_graph(optimizer, hyper, fused):
    results = []
    for is_compiled in (False, True):
        params = [torch.nn.Parameter(torch.ones(4, 3)), torch.nn.Parameter(torch.ones(3))]
        groups = [{"params": params[:1]}, {"params": params[1:], "lr": 0.2}]
        subject = optimizer(groups, fused=fused if is_compiled else False, **{"lr": 0.1, **hyper})
        step = torch.compile(subject.step, backend="eager", fullgraph=True) if is_compiled else subject.step
        for seed in range(3):
            for param in params:
                param.grad = torch.randn(param.shape, generator=torch.Generator().manual_seed(seed))
            step()
        results.append([param.detach() for param in params])
    for x, y in zip(*results, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-6, atol=1e-7)
