"""Weights and gradients that are parts of one buffer, as DistributedDataParallel and flattened models have them."""

import pytest
import torch

from adamp import SGDP, AdamP, native

pytestmark = pytest.mark.skipif(native.why_not() is not None, reason="no native step")

SHAPES = [(7, 33), (5,), (300, 40), ()]
OPTIMIZERS = [(AdamP, {"lr": 0.1, "weight_decay": 0.1}), (SGDP, {"lr": 0.1, "momentum": 0.9})]


def parts(offset, dtype):
    """One tensor of each shape, behind each other in one buffer."""
    sizes = [torch.Size(shape).numel() for shape in SHAPES]
    pieces = torch.zeros(offset + sum(sizes), dtype=dtype)[offset:].split(sizes)
    return [piece.view(shape) for piece, shape in zip(pieces, SHAPES, strict=True)]


def apart(dtype):
    return [torch.zeros(shape, dtype=dtype) for shape in SHAPES]


def trained(optimizer, hyper, weights, grads):
    generator = torch.Generator().manual_seed(0)
    params = [torch.nn.Parameter(weight.copy_(torch.randn(weight.shape, generator=generator))) for weight in weights]
    subject = optimizer(params, **hyper)
    for _ in range(4):
        for param, grad in zip(params, grads, strict=True):
            param.grad = grad.copy_(torch.randn(grad.shape, generator=generator))
        subject.step()
    (plan,) = subject._plans.values()
    assert len(plan.rows) == len(SHAPES)  # all were stepped natively
    return [param.detach().clone() for param in params]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize(("optimizer", "hyper"), OPTIMIZERS, ids=str)
def test_parts_of_a_buffer_step_as_tensors_of_their_own_wherever_they_begin(optimizer, hyper, dtype):
    expected = trained(optimizer, hyper, apart(dtype), apart(dtype))
    for offset in (0, 1, 3):
        for weights, grads in (
            (parts(offset, dtype), apart(dtype)),
            (apart(dtype), parts(offset, dtype)),
            (parts(offset, dtype), parts(1, dtype)),
        ):
            found = trained(optimizer, hyper, weights, grads)
            assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
