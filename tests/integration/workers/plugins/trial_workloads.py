"""Workloads that slots import by their allow-list: slow ones, and ones that fail."""

import logging
import time
from dataclasses import replace

from service.domain.catalog import BUILT_IN, Hyperparameter
from workers.workloads.digits import DigitsMlp

_MLP = BUILT_IN.workloads["digits-mlp"]


class Slow(DigitsMlp):
    """digits-mlp that sleeps `step_s` seconds before each step."""

    description = replace(
        _MLP,
        name="trial_workloads:Slow",
        options=(*_MLP.options, Hyperparameter("step_s", default=0.0, low=0.0)),
    )

    def __init__(self, options, seed, device):
        super().__init__(options, seed, device)
        self._step_s = float(options["step_s"])

    def loss(self, epoch, index):
        time.sleep(self._step_s)
        return super().loss(epoch, index)


class Raising(DigitsMlp):
    """digits-mlp that fails at its third step."""

    description = replace(_MLP, name="trial_workloads:Raising")

    def loss(self, epoch, index):
        if index == 2:
            print("about to fail")  # noqa: T201 (what a workload prints is kept)
            logging.getLogger("trial_workloads").warning("it will fail")
            raise RuntimeError("the batch is broken\nand this is the second line")
        return super().loss(epoch, index)


class Exhausting(DigitsMlp):
    """digits-mlp for which memory never suffices."""

    description = replace(_MLP, name="trial_workloads:Exhausting")

    def loss(self, *_):
        raise MemoryError
