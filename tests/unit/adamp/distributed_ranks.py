"""One rank of two that train together over gloo; writes what it found: `python -m ... RANK STORE FOLDER`.

The tests are in `test_distributed.py`. Every check runs in this one pair of processes, because a process that imports
torch.distributed takes seconds to start.
"""

import json
import sys
import warnings
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from adamp import SGDP, AdamP, Decision

N_RANKS = 2
N_STEPS = 10
OPTIMIZERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "AdamP": (AdamP, {"lr": 0.05, "weight_decay": 0.01}),
    "SGDP": (SGDP, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "nesterov": True}),
}


def make_model() -> nn.Module:
    """Normalized per sample, so that half a batch on each rank is what the whole batch is in one process."""
    torch.manual_seed(0)
    # No bias before the norm: its gradient is rounding, which Adam makes as large as any other.
    convolution = nn.Conv2d(2, 6, 3, bias=False, dtype=torch.float64)
    norm = nn.InstanceNorm2d(6, affine=True, dtype=torch.float64)
    return nn.Sequential(convolution, norm, nn.ReLU(), nn.Flatten(), nn.Linear(96, 3, dtype=torch.float64))


def batch(step: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(100 + step)
    images = torch.randn(8, 2, 6, 6, dtype=torch.float64, generator=generator)
    return images, torch.randint(3, (8,), generator=generator)


def train(model: nn.Module, optimizer: Any, steps: range, part: slice) -> None:
    for step in steps:
        images, labels = batch(step)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images[part]), labels[part]).backward()
        optimizer.step()


def train_together(rank: int, name: str, folder: Path) -> dict[str, Any]:
    """Ten steps on both ranks; and once more with a restart in the middle."""
    optimizer_class, hyper = OPTIMIZERS[name]
    part = slice(rank * 4, rank * 4 + 4)
    model = DistributedDataParallel(make_model())
    optimizer = optimizer_class(model.parameters(), **hyper)
    train(model, optimizer, range(N_STEPS // 2), part)
    if rank == 0:
        torch.save({"model": model.module.state_dict(), "optimizer": optimizer.state_dict()}, folder / f"{name}.pt")
    dist.barrier()
    train(model, optimizer, range(N_STEPS // 2, N_STEPS), part)
    return {
        "weights": [p.detach() for p in model.parameters()],
        "state": optimizer.state_dict()["state"],
        "decisions": [d.decision for d in optimizer.diagnostics().values()],
        "resumed": resume(name, folder, part),
    }


def resume(name: str, folder: Path, part: slice) -> list[Tensor]:
    """The second half again, from rank 0's checkpoint, with a model and an optimizer that are new."""
    saved = torch.load(folder / f"{name}.pt", weights_only=True)
    optimizer_class, hyper = OPTIMIZERS[name]
    module = make_model()
    module.load_state_dict(saved["model"])
    model = DistributedDataParallel(module)
    optimizer = optimizer_class(model.parameters(), **{**hyper, "lr": 123.0})
    optimizer.load_state_dict(saved["optimizer"])
    train(model, optimizer, range(N_STEPS // 2, N_STEPS), part)
    return [p.detach() for p in model.parameters()]


def train_alone(name: str) -> list[Tensor]:
    optimizer_class, hyper = OPTIMIZERS[name]
    model = make_model()
    train(model, optimizer_class(model.parameters(), **hyper), range(N_STEPS), slice(None))
    return [p.detach() for p in model.parameters()]


def is_same(ours: list[Tensor], others: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(ours, others, strict=True))


def compare_training(rank: int, name: str, folder: Path) -> dict[str, Any]:
    """What both ranks ended with, against each other and against one process with the whole batch."""
    end = train_together(rank, name, folder)
    alone = train_alone(name)
    tensors = [*end["weights"], *(t for entry in end["state"].values() for t in entry.values())]
    others = [t.clone() for t in tensors]
    for tensor in others:
        dist.broadcast(tensor, src=0)
    return {
        "is_same_on_both_ranks": is_same(tensors, others),
        "distance_to_one_process": max(float((a - b).abs().max()) for a, b in zip(end["weights"], alone, strict=True)),
        "is_resumed_bit_for_bit": is_same(end["weights"], end["resumed"]),
        "was_projected": any(d is not Decision.NONE for d in end["decisions"]),
    }


def message_of(attempt: Callable[[], Any]) -> str:
    try:
        attempt()
    except ValueError as error:
        return str(error)
    return "accepted"


def distributed_parameters(mesh: Any) -> dict[str, nn.Parameter]:
    """Parameters of which no rank may hold the whole, made in each way that torch has."""
    weight = torch.arange(12.0).reshape(4, 3) + 1
    placements = {"Shard(0)": Shard(0), "Shard(1)": Shard(1), "Replicate": Replicate()}
    made = {name: nn.Parameter(distribute_tensor(weight, mesh, [how])) for name, how in placements.items()}
    made["Partial"] = nn.Parameter(DTensor.from_local(weight, mesh, [Partial()]))
    layer = nn.Linear(3, 4)
    fully_shard(layer, mesh=mesh)
    made["fully_shard"] = layer.weight
    return made | {"FullyShardedDataParallel": flattened_parameter()}


def flattened_parameter() -> nn.Parameter:
    """A weight that FSDP has flattened: one dimension, or none of its elements."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch advises fully_shard
        wrapped = FullyShardedDataParallel(nn.Linear(3, 4), use_orig_params=True, device_id=torch.device("cpu"))
    weight: nn.Parameter = wrapped.module.weight
    return weight


def refuse_distributed(mesh: Any) -> dict[str, Any]:
    """What AdamP says to each, and what is left of it then."""
    refused = distributed_parameters(mesh)
    said = {name: message_of(lambda p=p: AdamP([p])) for name, p in refused.items()}
    plain, sharded = nn.Parameter(torch.ones(2, 2)), refused["Shard(0)"]
    before = sharded.full_tensor().detach().clone()
    subject = AdamP([plain])
    late = message_of(lambda: subject.add_param_group({"params": [sharded]}))
    together = message_of(lambda: AdamP([plain, sharded]))
    plain.grad = torch.ones(2, 2)
    subject.step()  # goes on with what it had
    return {
        "said": {**said, "a group of a running optimizer": late, "beside a plain tensor": together},
        "n_groups": len(subject.param_groups),
        "n_states": len(subject.state),
        "is_untouched": torch.equal(sharded.full_tensor().detach(), before),
    }


def main() -> None:
    rank, store, folder = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=N_RANKS, timeout=timedelta(seconds=120)
    )
    found: dict[str, Any] = {name: compare_training(rank, name, folder) for name in OPTIMIZERS}
    mesh = init_device_mesh("cpu", (N_RANKS,))
    found["refused"] = refuse_distributed(mesh)
    (folder / f"rank{rank}.json").write_text(json.dumps(found))
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
