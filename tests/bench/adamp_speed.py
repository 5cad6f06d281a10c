"""Time of an optimizer's step relative to torch's fused one: `python -m tests.bench.adamp_speed [seconds per cell]`.

Writes docs/benchmarks/adamp.json, and docs/benchmarks/adamp.md from it (`--page` does only that). `--model NAME`,
`--threads N` and `--only TEXT of the optimizer's name` measure a part; the other rows stay if they are of the same
day, machine and versions. The optimizers take turns (A B B A) in one process on weights
that move, with new random gradients each time, so that a guess of the decision is wrong as often as chance has it.
Ratios are of medians: of CPU time with one thread, of wall time with two.
"""

import gc
import importlib
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import adamp
from tests.bench.adamp_page import ROWS, write_page
from tests.bench.models import MODELS, Shape

FOLDER = Path(__file__).parents[2] / "docs" / "benchmarks"
_SGD = {"lr": 0.01, "momentum": 0.9, "nesterov": True, "weight_decay": 1e-5}
_ADAM = {"lr": 1e-3, "weight_decay": 1e-2}

_SLOW = ("AdamP in plain torch",)

Make = Callable[[list[Tensor]], torch.optim.Optimizer]
BASELINES: dict[str, Make] = {
    "AdamP": lambda params: torch.optim.AdamW(params, fused=True, **_ADAM),
    "SGDP": lambda params: torch.optim.SGD(params, fused=True, **_SGD),
}


def contenders() -> dict[str, dict[str, tuple[Make, str]]]:
    """Per baseline, what is compared with it: how to make it, and which gradients it gets."""
    theirs = _authors_package()
    rows: dict[str, dict[str, tuple[Make, str]]] = {
        "AdamP": {
            "AdamP": (lambda params: adamp.AdamP(params, **_ADAM), "random"),
            "AdamP, always channel": (lambda params: adamp.AdamP(params, **_ADAM), "channel"),
            "AdamP, always layer": (lambda params: adamp.AdamP(params, **_ADAM), "layer"),
            "AdamP in plain torch": (lambda params: adamp.AdamP(params, fused=False, **_ADAM), "random"),
            "AdamW foreach": (lambda params: torch.optim.AdamW(params, foreach=True, **_ADAM), "random"),
        },
        "SGDP": {
            "SGDP": (lambda params: adamp.SGDP(params, **_SGD), "random"),
            "SGDP, always channel": (lambda params: adamp.SGDP(params, **_SGD), "channel"),
            "SGDP, always layer": (lambda params: adamp.SGDP(params, **_SGD), "layer"),
        },
    }
    if theirs is not None:
        rows["AdamP"]["authors' AdamP"] = (lambda params: theirs.AdamP(params, **_ADAM), "random")
        rows["SGDP"]["authors' SGDP"] = (lambda params: theirs.SGDP(params, **_SGD), "random")
    return rows


def _authors_package() -> Any:
    """The authors' package where `pip install --target FOLDER --no-deps adamp==0.3.0` put it: --authors FOLDER."""
    if "--authors" not in sys.argv:
        return None
    ours = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "adamp"}
    folder = sys.argv[sys.argv.index("--authors") + 1]
    sys.path.insert(0, folder)
    try:
        return importlib.import_module("adamp")
    finally:
        sys.path.remove(folder)
        for name in [name for name in sys.modules if name.partition(".")[0] == "adamp"]:
            del sys.modules[name]
        sys.modules.update(ours)


class Subject:
    """An optimizer on weights of its own."""

    def __init__(self, make: Make, shapes: list[Shape], kind: str) -> None:
        generator = torch.Generator().manual_seed(0)
        self.params = [torch.nn.Parameter(torch.randn(s, generator=generator) / 20) for s in shapes]
        self.kind, self.times = kind, list[float]()
        self.optimizer = make(self.params)

    def step(self, noise: Tensor) -> None:
        """Step once on gradients cut from `noise`; the time of the step alone is noted."""
        start = int(torch.randint(64, ()))
        for param in self.params:
            grad = noise[start : start + param.numel()].view(param.shape)
            param.grad = _of_kind(self.kind, grad, param.detach())
            start = (start + param.numel() // 7) % 4096  # other numbers for the next tensor
        # With one thread its CPU time, which other programs on the machine disturb less.
        clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
        began = clock()
        self.optimizer.step()
        self.times.append(clock() - began)


def _of_kind(kind: str, grad: Tensor, weight: Tensor) -> Tensor:
    """`grad` itself, or without its component along each row of the weight, or along the whole of it only."""
    if kind == "random" or weight.ndim < 2:
        return grad.clone()  # in memory of its own, as after a backward pass
    rows, w = grad.flatten(1), weight.flatten(1)
    grad = rows - w * ((rows * w).sum(1, keepdim=True) / (w * w).sum(1, keepdim=True))
    if kind == "layer" and len(w) > 1:
        share = 0.5 * (w * w)[0].sum() / (w * w)[1].sum()
        grad[0] += 0.5 * w[0]
        grad[1] -= share * w[1]
    return grad.view(weight.shape)


def compare(baseline: Make, make: Make, kind: str, shapes: list[Shape], seconds: float) -> dict[str, Any]:
    """Medians in milliseconds and their ratio."""
    noise = torch.randn(max(torch.Size(s).numel() for s in shapes) + 8192) / 100
    a, b = Subject(make, shapes, kind), Subject(baseline, shapes, kind)
    gc.disable()
    until, n_rounds = time.perf_counter() + seconds, 0
    while n_rounds < 4 or time.perf_counter() < until:
        for subject in (a, b, b, a):
            subject.step(noise)
        n_rounds += 1
    gc.enable()
    ours, fused = (statistics.median(subject.times[2:]) * 1e3 for subject in (a, b))
    return {
        "ratio": round(ours / fused, 3),
        "step_ms": round(ours, 4),
        "fused_ms": round(fused, 4),
        "n": 2 * n_rounds,
        "load": round(os.getloadavg()[0], 1),
    }


def _option(name: str, default: str) -> str:
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else default


def measure(seconds: float) -> list[dict[str, Any]]:
    """The contenders on the models with 1 and 2 threads, as far as the options ask for them."""
    rows = []
    for model, shapes in MODELS.items():
        for n_threads in (1, 2):
            if model != _option("--model", model) or str(n_threads) != _option("--threads", str(n_threads)):
                continue
            torch.set_num_threads(n_threads)
            for baseline, rivals in contenders().items():
                for name, (make, kind) in rivals.items():
                    if _option("--only", "") not in name or (model == "GPT 124M" and name in _SLOW):
                        continue
                    told = compare(BASELINES[baseline], make, kind, shapes, seconds)
                    rows.append({"model": model, "n_threads": n_threads, "optimizer": name, **told})
                    sys.stdout.write(f"{rows[-1]}\n")
    return rows


def _place(row: dict[str, Any]) -> tuple[int, int, int]:
    return list(MODELS).index(row["model"]), row["n_threads"], ROWS.index(row["optimizer"])


def merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """`new` with the rows of `old` that it has not, if the two are of the same day, machine and versions."""
    if {**old, "rows": []} != {**new, "rows": []}:
        return new
    rows = {_place(row): row for row in (*old["rows"], *new["rows"])}
    return {**new, "rows": [rows[place] for place in sorted(rows)]}


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))


def main() -> None:
    """Measure, unless `--page` is given, and write the page."""
    target = FOLDER / "adamp.json"
    if "--page" not in sys.argv:
        seconds = float(sys.argv[1]) if len(sys.argv) > 1 and sys.argv[1][0].isdigit() else 5.0
        told = {
            "date": datetime.now(UTC).date().isoformat(),
            "cpu": _cpu_model(),
            "instruction_set": torch.backends.cpu.get_cpu_capability(),
            "torch": torch.__version__,
            "adamp": adamp.__version__,
            "rows": measure(seconds),
        }
        told = merged(json.loads(target.read_text()), told)
        target.write_text(json.dumps(told, indent=1) + "\n")
    (FOLDER / "adamp.md").write_text(write_page(json.loads(target.read_text())))


if __name__ == "__main__":
    main()
