"""Runs the Triton step on the CPU, in Triton's interpreter, and prints what was found as JSON.

A process of its own, because the interpreter is chosen when Triton is first imported: `TRITON_INTERPRET=1 python -m
tests.unit.adamp.triton_interpreted`. The tests are in `test_triton.py`.
"""

import json
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from adamp import SGDP, SGDW, AdamP, triton_plan
from adamp.base import TangentOptimizer
from tests.unit.adamp.accuracy import TABLE, Place, errors, make_trajectory, repeat
from tests.unit.adamp.cases import ADAMP, SGDP_, VALID, Case, gradient
from tests.unit.adamp.test_against_reference import run_both, worst_error

SHAPES = [(), (7,), (4, 3), (2, 3, 4), (3, 1)]
PLAIN = [Case(AdamP, {"weight_decay": 0.05}), Case(SGDP, {"weight_decay": 0.01})]
FEW_PLACES = (Place((5, 3)), Place((2, 3, 4)), Place((4, 3), group=1))  # the interpreter takes 25 ms for each
N_STEPS = 4  # one of each kind of gradient
plans: list[triton_plan.Plan] = []


def use_triton(self: Any, index: int, group: Any, params: Any) -> Any:
    """In place of `TangentOptimizer._plan`: the Triton step, though the parameters lie on the CPU."""
    if not params:
        return None
    if (index, "triton") not in self._plans:
        self._plans[index, "triton"] = triton_plan.Plan()
        plans.append(self._plans[index, "triton"])
    return self._plans[index, "triton"]


def read_hyper(self: Any, group: Any) -> Any:
    """In place of `TangentOptimizer._read_hyper`: every tensor counts as lying on a GPU."""
    lr = group["lr"]
    if not isinstance(lr, torch.Tensor):
        return self._hyper(group)
    hyper = self._hyper({**group, "lr": math.nan})
    hyper.lr_tensor = lr
    return hyper


@contextmanager
def sizes(segment: int, block: int, rows: int) -> Iterator[None]:
    """Small blocks, so that small tensors take the ways of large ones."""
    kept = triton_plan.SEGMENT, triton_plan.BLOCK, triton_plan.ROWS
    triton_plan.SEGMENT, triton_plan.BLOCK, triton_plan.ROWS = segment, block, rows
    yield
    triton_plan.SEGMENT, triton_plan.BLOCK, triton_plan.ROWS = kept


def against_reference() -> dict[str, float]:
    """Errors of float32 steps, by case; `run_both` also compares every decision."""
    return {
        str(case): worst_error(run_both(case, "mixed", torch.float32, N_STEPS, shapes=SHAPES), floor=0.1)
        for case in VALID
    }


def accuracy() -> dict[str, Any]:
    """Errors over the table relative to the displacement, and decisions that differ, by cell."""
    found = {}
    for index, case in enumerate(TABLE):
        trajectory = make_trajectory(index, torch.float32, FEW_PLACES)
        outcome = repeat(index, trajectory)
        found[str(case)] = {"errors": errors(trajectory, outcome), "wrong": outcome.wrong}
    return found


def in_small_blocks() -> dict[str, float]:
    """Rows of several segments, segments of several blocks, more rows than `decide` takes at once."""
    with sizes(segment=16, block=8, rows=4):
        runs = {
            str(case): run_both(case, "mixed", torch.float32, N_STEPS, shapes=[(5, 37), (3, 5, 2)]) for case in PLAIN
        }
    return {name: worst_error(run, floor=0.1) for name, run in runs.items()}


def rounded_16_bit() -> dict[str, list[float]]:
    """Share of weights that differ from the reference's rounded ones, and by how many roundings at most."""
    found = {}
    for case in PLAIN:
        for dtype in (torch.bfloat16, torch.float16):

            def store(weight: Any, dtype: torch.dtype = dtype) -> Any:
                return torch.from_numpy(np.asarray(weight)).float().to(dtype).double().numpy()

            runs = run_both(case, "mixed", dtype, N_STEPS, shapes=[(5, 3), (3, 9)], store=store)
            n_differ = sum(int(np.sum(ours != reference)) for _, ours, reference in runs)
            roundings = [
                float(np.max(np.abs(ours - ref) / (torch.finfo(dtype).eps * np.maximum(np.abs(ref), 0.1))))
                for _, ours, ref in runs
            ]
            found[f"{case} {dtype}"] = [n_differ / sum(ours.size for _, ours, _ in runs), max(roundings)]
    return found


def run(optimizer_class: Any, weights: list[Any], *, n_steps: int = N_STEPS, before: Any = None, **hyper: Any) -> Any:
    """Steps on gradients of all kinds in turn; returns the optimizer and its parameters."""
    params = [torch.nn.Parameter(weight.clone()) for weight in weights]
    optimizer = optimizer_class(params, **hyper)
    generator = torch.Generator().manual_seed(3)
    for t in range(n_steps):
        for i, (param, weight) in enumerate(zip(params, weights, strict=True)):
            kind = ("channel", "none", "layer", "random")[(t + i) % 4]
            param.grad = torch.empty_like(param).copy_(gradient(kind, weight.double(), generator))
        if before is not None:
            before(optimizer)
        optimizer.step()
    return optimizer, params


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def n_different_bits(a: Any, b: Any) -> int:
    return sum(int((x != y).sum()) for x, y in zip(a[1], b[1], strict=True))


def history() -> dict[str, int]:
    """Weights whose bits depend on what the sweep expected: expectations left alone, and all turned round."""
    weights = [draw(5, 3), draw(2, 40, seed=1), draw(6, seed=2)]

    def turn_round(optimizer: Any) -> None:
        for plan in optimizer._plans.values():
            plan._modes.copy_(1 - plan._modes)

    return {
        f"{optimizer.__name__} {changes}": n_different_bits(
            run(optimizer, weights, **{**hyper, **changes}),
            run(optimizer, weights, before=turn_round, **{**hyper, **changes}),
        )
        for optimizer, hyper in ((AdamP, ADAMP), (SGDP, SGDP_))
        for changes in ({}, {"maximize": True, "weight_decay": 0.02})
    }


def variants() -> dict[str, float]:
    """Largest difference between two ways to say the same, relative to the weights."""
    weights = [draw(5, 3), draw(2, 3, 4, seed=1)]
    image = [draw(3, 4, 3, 3)]
    hyper = {**ADAMP, "weight_decay": 0.05}
    last = [image[0].contiguous(memory_format=torch.channels_last)]
    dim_1 = {"channel_dim": 1, "delta": 1e9}
    return {
        "lr as a tensor": apart(
            run(AdamP, weights, **hyper), run(AdamP, weights, **{**hyper, "lr": torch.tensor(0.1)})
        ),
        "step on the device": apart(run(AdamP, weights, **hyper), run_with_device_steps(weights, hyper)),
        "channels_last": apart(run(AdamP, image, **hyper), run(AdamP, last, **hyper)),
        "channels_last, channel_dim 1": apart(
            run(SGDP, image, **{**SGDP_, **dim_1}), run(SGDP, last, **{**SGDP_, **dim_1})
        ),
        "channel_dim 1": apart(run(SGDP, image, **{**SGDP_, **dim_1}), run_transposed(image[0])),
        "SGDW": apart(run(SGDW, weights, lr=0.1, momentum=0.9), run(SGDP, weights, lr=0.1, momentum=0.9, delta=0.0)),
    }


def apart(a: Any, b: Any) -> float:
    return max(float((x - y).detach().abs().max() / x.detach().abs().max()) for x, y in zip(a[1], b[1], strict=True))


def run_with_device_steps(weights: list[Any], hyper: dict[str, Any]) -> Any:
    """As with capturable: here the CPU is the device, so only the reading of the step shows the difference."""
    original = triton_plan._count_step
    triton_plan._count_step = lambda _: 0
    try:
        optimizer, params = run(AdamP, weights, **hyper)
    finally:
        triton_plan._count_step = original
    assert all(int(state["step"]) == N_STEPS for state in optimizer.state.values())
    return optimizer, params


def run_transposed(image: torch.Tensor) -> Any:
    """The channels brought to dimension 0, with the gradients of the untransposed run."""
    param = torch.nn.Parameter(image.movedim(1, 0).contiguous())
    optimizer = SGDP([param], **{**SGDP_, "delta": 1e9})
    generator = torch.Generator().manual_seed(3)
    for t in range(N_STEPS):
        kind = ("channel", "none", "layer", "random")[t % 4]
        param.grad = gradient(kind, image.double(), generator).float().movedim(1, 0).contiguous()
        optimizer.step()
    return optimizer, [param.movedim(0, 1)]


def edges() -> dict[str, Any]:
    """Inputs at the edge, by the Triton step and by plain torch."""
    found = {}
    full_decay = {**SGDP_, "momentum": 0.0, "lr": 0.5, "weight_decay": 2.0}
    cases: dict[str, tuple[Any, Any]] = {
        "nan": (torch.tensor([[1.0, math.nan], [1.0, 2.0]]), SGDP_),
        "inf": (torch.tensor([[1.0, math.inf], [1.0, 2.0]]), SGDP_),
        "norm beyond float32": (1e30 * draw(2, 2, seed=1), {**SGDP_, "lr": 1e-31}),
        "zero": (torch.zeros(2, 2), {**SGDP_, "weight_decay": 0.01}),
        "lr * decay = 1": (draw(2, 2), full_decay),
        "lr * decay = 1, projected": (draw(2, 2), {**full_decay, "delta": 1e9}),
    }
    for name, (grad, hyper) in cases.items():
        results = []
        for fused in (True, False):
            param = torch.nn.Parameter(draw(2, 2, seed=5))
            TangentOptimizer._plan = use_triton if fused else _no_plan  # type: ignore[method-assign]
            optimizer = SGDP([param], **hyper)
            param.grad = grad.clone()
            optimizer.step()
            results.append([param.detach().tolist(), optimizer.diagnostics()[0, 0].decision.name])
        found[name] = results
    TangentOptimizer._plan = use_triton  # type: ignore[method-assign]
    return found


def _no_plan(self: Any, index: int, group: Any, params: Any) -> None:
    return None


def records() -> list[list[Any]]:
    """Diagnostics by the Triton step and by plain torch."""
    weights, hyper = [draw(5, 3), draw(7)], {**ADAMP, "weight_decay": 0.05}
    ours = run(AdamP, weights, **hyper)[0].diagnostics()
    TangentOptimizer._plan = _no_plan  # type: ignore[method-assign]
    plain = run(AdamP, weights, **hyper)[0].diagnostics()
    TangentOptimizer._plan = use_triton  # type: ignore[method-assign]
    names = plain[0, 0].__slots__
    return [[name, getattr(ours[key], name), getattr(plain[key], name)] for key in plain for name in names]


def left_over() -> dict[str, Any]:
    """One group of what the kernels take and what they do not: all must take the step."""
    params = [draw(3, 2), draw(3, 2).double(), torch.zeros(0, 3), draw(6, 4)[:, ::2], draw(2, 2).bfloat16()]
    leaves = [torch.nn.Parameter(p) for p in params]
    optimizer = AdamP(leaves, lr=0.1)
    for param in leaves:
        param.grad = torch.ones_like(param)
    optimizer.step()
    n_taken = len(plans[-1]._taken)
    return {"n_taken": n_taken, "n_steps": [d.n_steps for d in optimizer.diagnostics().values()]}


def bytes_share() -> float:
    """Tables per weight in a network of convolutions of 64 to 512 channels, 3 by 3."""
    weights = [torch.zeros(n, n, 3, 3) for n in (64, 128, 256, 512)]
    plan = triton_plan.Plan()
    params = [torch.nn.Parameter(w) for w in weights]
    optimizer = SGDP(params, lr=0.1)
    plan._rebuild(params, optimizer._columns(params, optimizer.param_groups[0]), optimizer._record, 0)
    return plan.n_bytes / sum(w.nbytes for w in weights)


def main() -> None:
    TangentOptimizer._plan = use_triton  # type: ignore[method-assign]
    TangentOptimizer._read_hyper = read_hyper  # type: ignore[method-assign]
    torch.set_num_threads(1)
    checks = (
        accuracy,
        against_reference,
        in_small_blocks,
        rounded_16_bit,
        history,
        variants,
        edges,
        records,
        left_over,
        bytes_share,
    )
    json.dump({check.__name__: check() for check in checks}, sys.stdout)


if __name__ == "__main__":
    main()
