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


def adamp_inputs():
    generator = torch.Generator().manual_seed(0)
    params = [torch.randn(shape, generator=generator) for shape in [(4, 3), (3,), ()]]
    grads = [torch.randn(p.shape, generator=generator) for p in params]
    state = ([torch.zeros_like(p) for p in params], [torch.zeros_like(p) for p in params])
    steps = [torch.zeros(()) for _ in params]
    return params, grads, *state, steps, [new_record(p, torch.float32) for p in params]


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_the_update_is_one_graph_and_equals_the_eager_one(backend):
    @torch.compile(fullgraph=True, backend=backend)
    def compiled(*tensors):
        with torch.no_grad():
            functional.adamp(*tensors, **ADAMP)

    ours, eager = adamp_inputs(), adamp_inputs()
    for _ in range(3):
        compiled(*ours)
        functional.adamp(*eager, **ADAMP)
    for a, b in zip(ours, eager, strict=True):
        for x, y in zip(a, b, strict=True):
            torch.testing.assert_close(x, y, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("optimizer", "hyper"), [(AdamP, {}), (SGDP, {"momentum": 0.9}), (SGDW, {"momentum": 0.9})])
def test_a_whole_optimizer_step_compiles(optimizer, hyper):
    results = []
    for is_compiled in (False, True):
        params = [torch.nn.Parameter(torch.ones(4, 3)), torch.nn.Parameter(torch.ones(3))]
        subject = optimizer(params, lr=0.1, fused=False, **hyper)
        step = torch.compile(subject.step, backend="eager") if is_compiled else subject.step
        for seed in range(3):
            for param in params:
                param.grad = torch.randn(param.shape, generator=torch.Generator().manual_seed(seed))
            step()
        results.append([param.detach() for param in params])
    for x, y in zip(*results, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-6, atol=1e-7)
