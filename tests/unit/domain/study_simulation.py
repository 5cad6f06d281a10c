"""A study's trials drawn from a plain model, for tests of the report; independent of the service's sampler."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from service.domain.report_input import ArmInput, ReportInput
from service.domain.trial import Outcome, Phase, TrialRecord

SPACE = {"lr": {"log": [1e-4, 1e-1]}, "weight_decay": {"log": [1e-4, 1.0]}, "delta": 0.1}


@dataclass
class SimulatedStudy:
    """Endpoint = exp(level + shift of the arm + curvature * (distance of log lr from the optimum)^2 + noise).

    Attributes:
        shifts: True log effect of each arm.
        optimum: Position of the best lr in its range, 0 to 1.
        tuning_sd: Spread of the replicate means beyond seeds.
        seed_sd: Spread of one run.
    """

    shifts: dict[str, float]
    seed: int = 0
    optimum: float = 0.5
    curvature: float = 4.0
    tuning_sd: float = 0.05
    seed_sd: float = 0.05
    n_trials: int = 8
    replicates: int = 5
    confirm_seeds: int = 3
    records: list[TrialRecord] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        for replicate in range(self.replicates):
            common = self.rng.normal(0, self.seed_sd, self.confirm_seeds)
            for arm, shift in self.shifts.items():
                self._cell(arm, replicate, shift + self.rng.normal(0, self.tuning_sd), common)

    def _cell(self, arm: str, replicate: int, shift: float, common: np.ndarray) -> None:
        searched = [self._search(arm, replicate, cell_number, shift) for cell_number in range(self.n_trials)]
        top = sorted(searched, key=lambda trial: trial.value or math.inf)[:2]
        number = self.n_trials
        for best in top:
            for seed_index in range(2):
                self._rerun(best, Phase.SELECT, number, seed_index, self._value(best.params, shift, 0.0))
                number += 1
        means = [np.mean([math.log(t.value) for t in self.records if self._is_select(t, best)]) for best in top]
        winner = top[int(np.argmin(means))]
        for seed_index in range(self.confirm_seeds):
            value = self._value(winner.params, shift, float(common[seed_index]))
            self._rerun(winner, Phase.CONFIRM, number, seed_index, value)
            number += 1

    @staticmethod
    def _is_select(trial: TrialRecord, best: TrialRecord) -> bool:
        place = (Phase.SELECT, best.arm, best.replicate, best.config)
        return (trial.phase, trial.arm, trial.replicate, trial.config) == place

    def _value(self, params: dict, shift: float, common: float) -> float:
        position = math.log(params["lr"] / 1e-4) / math.log(1e3)
        noise = self.rng.normal(0, self.seed_sd)
        return math.exp(-1 + shift + self.curvature * (position - self.optimum) ** 2 + common + noise)

    def _search(self, arm: str, replicate: int, cell_number: int, shift: float) -> TrialRecord:
        u, v = self.rng.random(2)
        params = {"lr": 1e-4 * 1e3**u, "weight_decay": 1e-4 * 1e4**v, "delta": 0.1}
        value = self._value(params, shift, 0.0)
        return self._add(arm, replicate, Phase.SEARCH, cell_number, cell_number, 0, params, value=value)

    def _rerun(self, best: TrialRecord, phase: Phase, number: int, seed_index: int, value: float) -> None:
        rest = {"value": value}
        if phase is Phase.CONFIRM:
            rest |= {"test_value": value * 1.1, "metrics": {"test_accuracy": math.exp(-value)}}
        self._add(best.arm, best.replicate, phase, number, best.config, seed_index, best.params, **rest)

    def _add(self, arm, replicate, phase, cell_number, config, seed_index, params, **rest) -> TrialRecord:
        bank = list(Phase).index(phase)
        place = cell_number if phase is Phase.SEARCH else seed_index
        trial = TrialRecord(
            number=len(self.records),
            arm=arm,
            replicate=replicate,
            phase=phase,
            cell_number=cell_number,
            config=config,
            seed_index=seed_index,
            seed=(replicate * 8 + bank) * 1000 + place,
            state=Outcome.FINISHED.state,
            params=params,
            outcome=Outcome.FINISHED,
            duration_s=2.0,
            cpu_s=1.5,
            **rest,
        )
        self.records.append(trial)
        return trial

    def report_input(self, **changes) -> ReportInput:
        """The study as the report takes it; all pairs with the first arm as baseline."""
        names = list(self.shifts)
        constants = {
            "study": "simulated",
            "spec_hash": "0" * 64,
            "workload": "digits-cnn",
            "metric": "test NLL",
            "chance_level": math.log(10),
            "margin": 0.05,
            "trials_per_cell": self.n_trials,
            "select_top": 2,
            "select_seeds": 2,
            "confirm_seeds": self.confirm_seeds,
            "replicates": self.replicates,
            "arms": tuple(ArmInput(name, "AdamW", "adam", SPACE) for name in names),
            "compare": tuple((names[0], name) for name in names[1:]),
            "trials": tuple(self.records),
        }
        return ReportInput(**{**constants, **changes})
