"""The training loop: one run from its first step, or from a checkpoint, to its result. No queue, no database.

The same run on the same processor gives the same bits, also when it was interrupted and resumed.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from service.domain.seeds import stream_seed
from service.domain.trial import Outcome
from workers import checkpoint as checkpoints
from workers.environment import content_key
from workers.layers import LayerMeter
from workers.optimizers import build_optimizer
from workers.run import Interrupted, Measurement, Observer, Result, Run, Start
from workers.workloads import ENDPOINT_FLOOR, Evaluation, complete_options
from workers.workloads import load as load_workload

__all__ = [
    "Interrupted",
    "Measurement",
    "Observer",
    "Result",
    "Run",
    "Start",
    "configure_torch",
    "is_out_of_memory",
    "train",
]

DIVERGED_ABOVE = 1.25
"""A run whose last validation endpoint is above this multiple of the chance level has diverged."""

_CHECK_INTERVAL = {"cpu": 1, "cuda": 32}
"""Steps between two looks at the training loss; on a GPU a look waits for all work that is queued."""


def configure_torch(n_threads: int = 1) -> None:
    """Make this process deterministic and give its operators `n_threads` threads.

    Called before CUDA is used: cuBLAS reads its setting once. On a GPU, an operator without a deterministic
    implementation raises RuntimeError from then on.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    torch.set_num_threads(n_threads)


def is_out_of_memory(error: BaseException) -> bool:
    """True where an exception from `train` says that memory ran out, on the device or on the host."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator: can't allocate memory" in str(error)


def train(
    run: Run,
    observer: Observer,
    *,
    checkpoint: Path | None = None,
    allowed: Sequence[str] = (),
) -> Result:
    """Train one run to its end.

    A run has diverged, which is a result and no error, when the loss of a step or an endpoint is not finite, which ends
    it at once; or when its last validation endpoint is above 1.25 times the chance level. Untrained networks lie up to
    9 % above chance (measured), and a run that is merely slow has not diverged.

    Args:
        run: What is trained, and where.
        observer: Told and asked as its protocol says.
        checkpoint: The file to resume from and to write to; None for a run without. Never removed here.
        allowed: "module:Class" names of workloads and optimizers beside the built-in ones.

    Raises:
        Interrupted: The observer asked for it.
        PluginError: The workload or the optimizer cannot be used here.
        ValueError: Options or hyperparameters are wrong.
    """
    device = torch.device(run.device)
    with _own_generators(device):
        training = _Training(run, device, allowed)
        observer.started(training.resume(checkpoint))
        if training.step == 0:
            observer.measured(training.measure())
        while training.is_unfinished:
            training.take_step()
            if training.is_at_epoch_end and observer.measured(training.measure()):
                return training.pruned()
            if training.is_unfinished:
                _attend(observer, training, checkpoint)
        return training.result()


def _attend(observer: Observer, training: _Training, checkpoint: Path | None) -> None:
    """Do between two steps what the observer wants."""
    should_stop = observer.should_stop()
    if checkpoint is not None and (should_stop or observer.wants_checkpoint()):
        training.save(checkpoint)
    if should_stop:
        raise Interrupted(training.step, is_saved=checkpoint is not None)


@contextmanager
def _own_generators(device: torch.device) -> Iterator[None]:
    """Leave torch's global generators as they were."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else [], device_type="cuda"):
        yield


class _Training:
    """A run in progress; `step` counts its completed steps."""

    def __init__(self, run: Run, device: torch.device, allowed: Sequence[str]) -> None:
        cls = load_workload(run.workload, allowed)
        torch.manual_seed(stream_seed(run.seed, "init"))
        self._workload = cls(complete_options(cls.description, run.options), run.seed, device)
        torch.manual_seed(stream_seed(run.seed, "noise"))
        self._run, self._device, self._allowed = run, device, allowed
        model = self._workload.model
        self._optimizer = build_optimizer(run.optimizer, run.params, model.parameters(), allowed=allowed)
        for group in self._optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        self._meter = LayerMeter(model, self._optimizer, self._workload.scale_invariant)
        self._clock = _Clock()
        self._loss_sum = torch.zeros((), dtype=torch.float64, device=device)
        self._why_diverged: str | None = None
        self._last: Evaluation | None = None
        self.step = 0
        self._set_learning_rate()

    @property
    def is_unfinished(self) -> bool:
        """True while there is a step to take."""
        return self.step < self._workload.n_steps and self._why_diverged is None

    @property
    def is_at_epoch_end(self) -> bool:
        """True where an epoch has just ended with finite losses."""
        return self.step % self._workload.n_steps_per_epoch == 0 and self._why_diverged is None

    def take_step(self) -> None:
        """One optimizer step, and a look at the loss."""
        self._set_learning_rate()
        self._optimizer.zero_grad()
        loss = self._workload.loss(*divmod(self.step, self._workload.n_steps_per_epoch))
        loss.backward()  # type: ignore[no-untyped-call]
        if (self.step + 1) % self._workload.n_steps_per_epoch == 0:
            self._meter.look_at_gradients()
        self._optimizer.step()
        self._loss_sum += loss.detach()
        self.step += 1
        is_due = self.step % _CHECK_INTERVAL[self._device.type] == 0
        if is_due or self.step % self._workload.n_steps_per_epoch == 0:
            self._note_divergence("training loss", self._loss_sum.item())

    def _note_divergence(self, what: str, value: float) -> None:
        if not math.isfinite(value):
            self._why_diverged = f"the {what} was not finite by step {self.step}"

    def _set_learning_rate(self) -> None:
        factor = self._workload.lr_factor(self.step)
        for group in self._optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor

    def measure(self) -> Measurement:
        """Validate, at the beginning or at the end of an epoch, and begin the next epoch's sums."""
        evaluation = self._workload.validate()
        metrics = _prefixed("validation", evaluation.metrics)
        if self.step > 0:
            metrics["train_loss"] = self._loss_sum.item() / self._workload.n_steps_per_epoch
        self._loss_sum.zero_()
        self._last = Evaluation(evaluation.value, metrics)
        self._note_divergence("validation endpoint", evaluation.value)
        epoch = self.step // self._workload.n_steps_per_epoch
        return Measurement(epoch, self.step, _floored(evaluation.value), metrics, self._meter.measure())

    def resume(self, path: Path | None) -> Start:
        """Continue from a checkpoint where there is one of this run."""
        tree, note = checkpoints.load(path, self._identity) if path else (None, "")
        if tree is not None:
            self._restore(tree)
        return Start(self.step, self._workload.n_steps, self._workload.n_epochs, note)

    def save(self, path: Path) -> None:
        """Write a checkpoint."""
        checkpoints.save(path, self._identity, self._state())

    @property
    def _identity(self) -> str:
        return content_key(self._run, self._device.type, allowed=self._allowed)

    def _state(self) -> dict[str, Any]:
        on_gpu = self._device.type == "cuda"
        return {
            "step": self.step,
            "model": dict(self._workload.model.state_dict()),
            "optimizer": self._optimizer.state_dict(),
            "meter": self._meter.state(),
            "loss_sum": self._loss_sum,
            "elapsed": self._clock.elapsed(),
            "cpu_generator": torch.get_rng_state(),
            "cuda_generator": torch.cuda.get_rng_state(self._device) if on_gpu else None,
        }

    def _restore(self, tree: Mapping[str, Any]) -> None:
        self.step = tree["step"]
        self._workload.model.load_state_dict(tree["model"])
        self._optimizer.load_state_dict(tree["optimizer"])
        self._meter.restore(tree["meter"])
        self._loss_sum.copy_(tree["loss_sum"])
        self._clock = _Clock(*tree["elapsed"])
        torch.set_rng_state(tree["cpu_generator"])
        if tree["cuda_generator"] is not None:
            torch.cuda.set_rng_state(tree["cuda_generator"], self._device)

    def result(self) -> Result:
        """Judge the run, and read the test set where it may."""
        last = self._last
        self._why_diverged = self._why_diverged or self._why_too_high()
        metrics, test_value = dict(last.metrics) if last else {}, None
        if self._run.reads_test_set and self._why_diverged is None:
            test = self._workload.test()
            metrics |= _prefixed("test", test.metrics)
            test_value = _floored(test.value)
            self._note_divergence("test endpoint", test.value)
        value = None if self._why_diverged or last is None else _floored(last.value)
        outcome = Outcome.DIVERGED if self._why_diverged else Outcome.FINISHED
        duration_s, cpu_s = self._clock.elapsed()
        return Result(outcome, value, test_value, metrics, self.step, duration_s, cpu_s, self._why_diverged)

    def _why_too_high(self) -> str | None:
        if self._last is None:
            return "nothing was measured"
        if self._last.value <= self._limit:
            return None
        times = f"{DIVERGED_ABOVE:g} times the chance level"
        return f"the last validation endpoint, {self._last.value:.4g}, is above {self._limit:.4g}, {times}"

    def pruned(self) -> Result:
        """What was spent on a run that ends here because the observer said so."""
        metrics = dict(self._last.metrics) if self._last else {}
        return Result(Outcome.PRUNED, None, None, metrics, self.step, *self._clock.elapsed())

    @property
    def _limit(self) -> float:
        return DIVERGED_ABOVE * self._workload.description.chance_level


class _Clock:
    """Seconds, and processor seconds of this process, over all attempts of a run."""

    def __init__(self, duration_s: float = 0.0, cpu_s: float = 0.0) -> None:
        self._start = time.perf_counter() - duration_s, time.process_time() - cpu_s

    def elapsed(self) -> tuple[float, float]:
        """Both, up to now."""
        return time.perf_counter() - self._start[0], time.process_time() - self._start[1]


def _floored(value: float) -> float | None:
    """An endpoint as it is stored: at least the floor, None where it is not finite."""
    return max(value, ENDPOINT_FLOOR) if math.isfinite(value) else None


def _prefixed(prefix: str, metrics: Mapping[str, float]) -> dict[str, float]:
    return {f"{prefix}_{name}": value for name, value in metrics.items() if math.isfinite(value)}
