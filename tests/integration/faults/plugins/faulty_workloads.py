"""Workloads that slots import by their allow-list, each of which goes wrong in a way of its own."""

import os
import signal
import time
from dataclasses import replace

import torch

from service.domain.catalog import BUILT_IN, Hyperparameter
from workers.workloads.digits import DigitsMlp

_MLP = BUILT_IN.workloads["digits-mlp"]
_STEP_S = Hyperparameter("step_s", default=0.0, low=0.0)


class Slow(DigitsMlp):
    """digits-mlp that sleeps `step_s` seconds before each step."""

    description = replace(_MLP, name="faulty_workloads:Slow", options=(*_MLP.options, _STEP_S))

    def __init__(self, options, seed, device):
        super().__init__(options, seed, device)
        self._step_s = float(options["step_s"])

    def loss(self, epoch, index):
        time.sleep(self._step_s)
        return super().loss(epoch, index)


class Leaking(Slow):
    """Slow that keeps 20 MB more with each step, all of it written to, until memory is refused."""

    description = replace(Slow.description, name="faulty_workloads:Leaking")

    def __init__(self, options, seed, device):
        super().__init__(options, seed, device)
        self._kept = []

    def loss(self, epoch, index):
        self._kept.append(torch.ones(5_000_000))
        return super().loss(epoch, index)


class Nan(Slow):
    """Slow whose loss is no number at its third step."""

    description = replace(Slow.description, name="faulty_workloads:Nan")

    def loss(self, epoch, index):
        loss = super().loss(epoch, index)
        if index == 2:
            print("the loss is about to be nan")  # noqa: T201 (what a workload prints is kept)
            return loss * float("nan")
        return loss


class Suicidal(DigitsMlp):
    """digits-mlp that kills its own process at its third step."""

    description = replace(_MLP, name="faulty_workloads:Suicidal")

    def loss(self, epoch, index):
        if index == 2:
            print("the last words")  # noqa: T201 (what a workload prints is kept)
            os.kill(os.getpid(), signal.SIGKILL)
        return super().loss(epoch, index)


class Hanging(DigitsMlp):
    """digits-mlp that stands still at its third step."""

    description = replace(_MLP, name="faulty_workloads:Hanging")

    def loss(self, epoch, index):
        if index == 2:
            print("about to hang")  # noqa: T201 (what a workload prints is kept)
            time.sleep(3600)
        return super().loss(epoch, index)


class Raising(DigitsMlp):
    """digits-mlp that raises at its third step."""

    description = replace(_MLP, name="faulty_workloads:Raising")

    def loss(self, epoch, index):
        if index == 2:
            print("about to raise")  # noqa: T201 (what a workload prints is kept)
            raise RuntimeError("the batch is broken")
        return super().loss(epoch, index)
