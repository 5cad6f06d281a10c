"""Numbers below float32's normal range keep the digits they have, on every path; nothing flushes them to zero."""

import numpy as np
import pytest
import torch

from adamp import SGDP, AdamP, native
from tests.unit.adamp.cases import Case

UNIT = 2.0**-149
"""The spacing of denormal numbers."""

N_STEPS = 5
SETS = {"generic": 0, "AVX2": 1, "AVX-512": 2}
N_SETS = native.instruction_set() + 1 if native.why_not() is None else 0
every_path = pytest.mark.parametrize("path", ["torch", *list(SETS)[:N_SETS]])

# Optimizer and changes; sizes of weights and gradients; how many units of a weight one unit of its gradient becomes.
CASES = [
    (Case(SGDP), 1e-41, 1e-40, 1),
    (Case(SGDP, {"nesterov": True, "weight_decay": 0.01}), 1e-41, 1e-40, 1),
    (Case(SGDP, {"momentum": 0.0}), 1e-41, 1e-40, 1),
    (Case(SGDP, {"lr": 1e38}), 1.0, 1e-40, 1e38),
    # Squares of such gradients are zero, so that eps alone divides the moment; its first correction is 10.
    (Case(AdamP), 1e-41, 1e-41, 10 * 0.1 / 1e-8),
    (Case(AdamP, {"nesterov": True, "delta": 0.0}), 1e-41, 1e-41, 10 * 0.1 / 1e-8),
]


@every_path
@pytest.mark.parametrize("shape", [(30, 50), (40, 700), (700,)], ids=str)
@pytest.mark.parametrize(("case", "weight_size", "grad_size", "gain"), CASES, ids=str)
def test_denormals_move_as_in_the_reference(case, weight_size, grad_size, gain, shape, path, monkeypatch):
    if path != "torch":
        monkeypatch.setattr(native, "instruction_set", lambda: SETS[path])
    generator = torch.Generator().manual_seed(0)
    start = weight_size * torch.randn(shape, generator=generator)
    param = torch.nn.Parameter(start.clone())
    subject = case.optimizer([param], **case.hyper, fused=path != "torch")
    reference = case.reference(start.double().numpy(), **case.hyper)
    for _ in range(N_STEPS):
        param.grad = grad_size * torch.randn(shape, generator=generator)
        expected = reference.step(param.grad.double().numpy())
        subject.step()
        assert subject.diagnostics()[0, 0].decision.name.lower() == expected
    displacement = np.abs(reference.weight - start.double().numpy()).max()
    bound = 2 * N_STEPS * UNIT * max(gain, 1) + 2e-6 * (displacement if weight_size == 1 else 0)
    assert displacement > 500 * bound  # else nothing was seen
    assert np.abs(param.detach().double().numpy() - reference.weight).max() <= bound
