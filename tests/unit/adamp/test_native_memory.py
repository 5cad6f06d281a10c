"""What the native step keeps between steps, in bytes: at most 1 % of the parameters'."""

import math

import pytest
import torch

from adamp import SGDP, AdamP, native
from tests.bench.models import MODELS

pytestmark = pytest.mark.skipif(native.why_not() is not None, reason="no native step")

# One tensor each: long rows and short ones, rows whose coefficients are kept and such as are not, no rows, a long row.
SINGLE = [
    (512, 4608),
    (1000, 512),
    (4000, 192),
    (4000, 191),
    (50304, 64),
    (200000, 9),
    (500000, 1),
    (1000000,),
    (2, 300000),
]


def bytes_kept(shapes, delta, make=AdamP):
    """(Bytes that the group's tables and the library hold, bytes of the parameters.)"""
    params = [torch.nn.Parameter(torch.ones(shape)) for shape in shapes]
    subject = make(params, delta=delta)
    for _ in range(4):  # a guess that was wrong is given up at the second step, and logged from the third on
        for param in params:
            param.grad = torch.ones_like(param)
        subject.step()
    (plan,) = subject._plans.values()
    assert len(plan._taken) == len(params)
    return plan.n_bytes + subject._last.n_bytes, sum(param.nbytes for param in params)


@pytest.mark.parametrize("delta", [0.0, math.inf], ids=["no projection", "channel"])
@pytest.mark.parametrize("shapes", [MODELS["ResNet-18"], MODELS["GPT 10M"], *([shape] for shape in SINGLE)], ids=str)
def test_at_most_one_percent_of_the_parameters_bytes_is_kept(shapes, delta):
    kept, of_parameters = bytes_kept(shapes, delta)
    assert kept <= 0.01 * of_parameters


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("shapes", [MODELS["ResNet-18"], *([shape] for shape in SINGLE)], ids=str)
def test_sgdp_keeps_as_little(shapes, momentum):
    kept, of_parameters = bytes_kept(shapes, math.inf, lambda params, delta: SGDP(params, 0.1, momentum, delta=delta))
    assert kept <= 0.01 * of_parameters


def test_a_small_model_costs_less_than_a_kilobyte_per_tensor():
    shapes = MODELS["small CNN"]
    assert bytes_kept(shapes, math.inf)[0] <= 1000 * len(shapes)


def test_threads_need_no_memory_of_their_own_between_steps():
    one = bytes_kept(MODELS["ResNet-18"], math.inf)
    torch.set_num_threads(2)
    assert bytes_kept(MODELS["ResNet-18"], math.inf) == one


def test_the_log_is_taken_only_when_weights_are_written_as_guessed():
    shapes = [(20000, 300)]
    before = bytes_kept(shapes, math.inf)[0]
    params = [torch.nn.Parameter(torch.ones(shape)) for shape in shapes]
    subject = AdamP(params, delta=math.inf)
    params[0].grad = torch.ones_like(params[0])
    subject.step()
    (plan,) = subject._plans.values()
    after_one = plan.n_bytes + subject._last.n_bytes
    assert after_one < before  # nothing is logged yet
    for _ in range(3):
        subject.step()
    assert plan.n_bytes + subject._last.n_bytes == before
