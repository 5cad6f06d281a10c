"""Short runs, an observer that records, and a module with plugins."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from workers.training import Measurement, Result, Run, Start, configure_torch

PARAMS = {
    "SGD": {"lr": 0.05, "weight_decay": 1e-4, "one_minus_momentum": 0.1, "nesterov": True},
    "SGDW": {"lr": 0.05, "weight_decay": 1e-3, "one_minus_momentum": 0.1, "nesterov": True},
    "SGDP": {"lr": 0.05, "weight_decay": 1e-3, "one_minus_momentum": 0.1, "nesterov": True, "delta": 0.1},
    "Adam": {"lr": 0.01, "weight_decay": 1e-4, "one_minus_beta1": 0.1},
    "AdamW": {"lr": 0.01, "weight_decay": 0.1, "one_minus_beta1": 0.1},
    "AdamP": {"lr": 0.01, "weight_decay": 0.1, "one_minus_beta1": 0.1, "delta": 0.1, "wd_ratio": 0.1},
}

PLUGIN = '''
import torch
from torch import nn
from service.domain import catalog
from workers.workloads import Evaluation, Workload

class Noisy(Workload):
    """Linear regression under dropout, which draws from the global generator."""

    description = catalog.Workload("plugged:Noisy", "", "MSE", 10.0)

    def __init__(self, options, seed, device):
        self.model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1)).to(device)
        self.x = torch.linspace(-1, 1, 128, device=device).reshape(32, 4)
        self.n_epochs, self.n_steps_per_epoch = 2, 4

    def loss(self, epoch, index):
        return self.model(self.x).sub(1.0).square().mean()

    @torch.no_grad()
    def validate(self):
        self.model.eval()
        value = self.model(self.x).sub(1.0).square().mean().item()
        self.model.train()
        return Evaluation(value)

    test = validate

class Perfect(Noisy):
    def validate(self):
        return Evaluation(0.0)

class NotANumber(Noisy):
    def validate(self):
        return Evaluation(float("nan") if self.model[0].weight.grad is not None else 1.0, {"broken": float("inf")})

class Lazy(torch.optim.SGD):
    def __init__(self, params, lr=0.5, betas=(0.8, 0.95), tau=2, hook=None, fused=False, **rest):
        super().__init__(params, lr=lr)
        self.given = {"betas": betas, "tau": tau, "rest": rest}

class Demanding(torch.optim.SGD):
    def __init__(self, params, lr, model):
        super().__init__(params, lr=lr)

class Stranger:
    pass
'''


class Recorder:
    """An observer that keeps what it is told, stops after the steps it was given, and checkpoints after others."""

    def __init__(self, stop_after: int | None = None, save_after: int | None = None) -> None:
        self.starts: list[Start] = []
        self.measurements: list[Measurement] = []
        self.n_polls = 0
        self._stop_after, self._save_after = stop_after, save_after

    def started(self, start: Start) -> None:
        self.starts.append(start)

    def measured(self, measurement: Measurement) -> None:
        self.measurements.append(measurement)

    def should_stop(self) -> bool:
        self.n_polls += 1
        return self.n_polls == self._stop_after

    def wants_checkpoint(self) -> bool:
        return self.n_polls == self._save_after


@pytest.fixture(autouse=True)
def deterministic_torch() -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    configure_torch(n_threads=1)
    yield
    torch.use_deterministic_algorithms(before[0])
    torch.set_num_threads(before[1])


@pytest.fixture
def recorder() -> type[Recorder]:
    return Recorder


@pytest.fixture(params=sorted(PARAMS))
def optimizer(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def short_run() -> Callable[..., Run]:
    """Make a run of 2 epochs with 16 steps each; keyword arguments replace fields."""

    def make(optimizer: str = "AdamW", workload: str = "digits-mlp", **changes: object) -> Run:
        run = Run(workload, {"epochs": 2, "width": 8}, optimizer, PARAMS.get(optimizer, {"lr": 0.1}), seed=7)
        return dataclasses.replace(run, **changes)

    return make


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """An importable module `plugged`, and the allow-list that names all of it."""
    (tmp_path / "plugged.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "plugged", raising=False)
    names = ("Noisy", "Perfect", "NotANumber", "Lazy", "Demanding", "Stranger")
    return tuple(f"plugged:{name}" for name in names)


@pytest.fixture
def bits() -> Callable[[Result], Result]:
    """Strip the times from a result, so that == compares what must be equal to the last bit."""
    return lambda result: dataclasses.replace(result, duration_s=0.0, cpu_s=0.0)
