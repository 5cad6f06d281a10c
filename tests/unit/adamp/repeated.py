"""Steps of small models, and whether one repeats the last."""

import torch


def parameters(dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    shapes = [(6, 4), (6,), (), (0, 3), (1, 3, 2, 2)]
    return [torch.nn.Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape in shapes]


def give_gradients(params, seed):
    generator = torch.Generator().manual_seed(seed)
    for param in params:
        param.grad = torch.randn(param.shape, generator=generator).to(param.dtype)


def repeats(subject):
    """Step; whether it was the last step once more, in one call of C."""
    anew = []
    step_anew = subject._step_anew
    subject._step_anew = lambda work: (anew.append(1), step_anew(work))
    try:
        subject.step()
    finally:
        del subject._step_anew
    return not anew
