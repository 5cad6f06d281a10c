"""The refusal of distributed parameters in this process, a group of one rank; `test_distributed.py` has two."""

import warnings

import pytest
import torch
from torch import distributed as dist
from torch import nn

from adamp import SGDP, SGDW, AdamP

pytestmark = pytest.mark.skipif(not dist.is_available(), reason="this torch has no torch.distributed")
MESSAGE = (
    "{} decides on whole tensors, got one that torch distributes over ranks (a DTensor, or a parameter of "
    "FullyShardedDataParallel); train with DistributedDataParallel, or give that parameter to an optimizer of torch."
)


@pytest.fixture
def one_rank():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def as_dtensor():
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import distribute_tensor

    return nn.Parameter(distribute_tensor(torch.ones(2, 3), init_device_mesh("cpu", (1,))))


def as_fsdps():
    from torch.distributed.fsdp import FullyShardedDataParallel

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about one rank, and about its successor
        wrapped = FullyShardedDataParallel(nn.Linear(3, 2), use_orig_params=True, device_id=torch.device("cpu"))
    return wrapped.module.weight


@pytest.mark.parametrize(("optimizer", "hyper"), [(AdamP, {}), (SGDP, {"lr": 0.1}), (SGDW, {"lr": 0.1})])
@pytest.mark.parametrize("make", [as_dtensor, as_fsdps])
def test_a_parameter_that_torch_distributes_is_refused(one_rank, make, optimizer, hyper):
    with pytest.raises(ValueError, match="decides on whole tensors") as caught:
        optimizer([make()], **hyper)
    assert str(caught.value) == MESSAGE.format(optimizer.__name__)


def test_a_plain_parameter_is_taken_in_a_distributed_program_too(one_rank):
    assert len(AdamP([nn.Parameter(torch.ones(2, 3))]).param_groups) == 1
