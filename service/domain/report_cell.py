"""One (arm, replicate) of a report: its trials by phase, its winner, and which confirm runs can be compared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from service.domain.plan import choose_winner
from service.domain.trial import Outcome, Phase, TrialRecord


@dataclass(frozen=True)
class Cell:
    """One (arm, replicate): its trials of search, select and confirm, by number."""

    replicate: int
    trials: tuple[TrialRecord, ...]

    def of_phase(self, phase: Phase) -> list[TrialRecord]:
        """The trials of one phase, by number."""
        return [trial for trial in self.trials if trial.phase is phase]

    @property
    def is_open(self) -> bool:
        """True while a trial is waiting or running."""
        return any(not trial.state.is_finished for trial in self.trials)

    @property
    def searched(self) -> list[TrialRecord]:
        """Search trials that count towards the budget."""
        return [t for t in self.of_phase(Phase.SEARCH) if t.outcome is not None and t.outcome.counts]

    @cached_property
    def winner(self) -> int | None:
        """`config` of the chosen configuration: the confirmed one, else select's choice; None before there is one."""
        confirmed = sorted({trial.config for trial in self.of_phase(Phase.CONFIRM)})
        select = self.of_phase(Phase.SELECT)
        chosen = choose_winner(select) if select and not self.is_open else None
        return confirmed[0] if confirmed and chosen not in confirmed else chosen

    def search_trial(self, config: int) -> TrialRecord | None:
        """The search trial of a configuration."""
        return next((t for t in self.of_phase(Phase.SEARCH) if t.config == config), None)

    @cached_property
    def winning_trial(self) -> TrialRecord | None:
        """A trial that has the winner's parameters: its search trial, else any later run of it."""
        runs = [trial for trial in self.trials if trial.config == self.winner]
        return next((t for t in runs if t.phase is Phase.SEARCH), runs[0] if runs else None)

    @property
    def confirm(self) -> dict[int, TrialRecord]:
        """The winner's confirm runs that can be compared, by seed; of repeated runs of one seed the first."""
        runs: dict[int, TrialRecord] = {}
        for trial in self.of_phase(Phase.CONFIRM):
            if trial.config == self.winner and is_comparable(trial):
                runs.setdefault(trial.seed, trial)
        return runs


def has_diverged(trial: TrialRecord) -> bool:
    """True where the run diverged, or says that it finished with an endpoint that is no finite number."""
    if trial.outcome is Outcome.FINISHED and trial.test_value is not None:
        return not math.isfinite(trial.test_value)
    return trial.outcome is Outcome.DIVERGED


def is_comparable(trial: TrialRecord) -> bool:
    """True for a confirm run with a positive test endpoint, or one that diverged."""
    is_measured = trial.outcome is Outcome.FINISHED and trial.test_value is not None and trial.test_value > 0
    return has_diverged(trial) or is_measured


def endpoint(trial: TrialRecord, chance_level: float) -> float:
    """The test endpoint of a comparable run; chance level where it diverged."""
    if has_diverged(trial) or trial.test_value is None:
        return chance_level
    return trial.test_value


def in_order(trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    """By number."""
    return sorted(trials, key=lambda trial: trial.number)
