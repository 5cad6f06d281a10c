"""What training is judged by: three losses of each run, their decision at a look, and the sentence on it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from service.domain.checks import CheckVerdict, Finding, Layer
from service.domain.sequential import Decision, Plan, decide, repeated_interval
from service.domain.statistics import mean
from workers.check.config import TrainingWorkload

N_EARLY_STEPS = 20
_SMALLEST_LOSS = 1e-12  # a loss that float32 rounds to 0 still has a logarithm
_ROUNDING = 5e-7  # of a log ratio; less is 0 in four decimals of a percent
_UNBOUNDED = 50.0  # of a log ratio; exp would overflow not far above


@dataclass(frozen=True)
class Endpoint:
    """A loss of a run.

    Attributes:
        name: As in the configuration's margins.
        words: For sentences.
        is_behaviour: A difference in either direction is a change of behaviour, and none is a failure.
    """

    name: str
    words: str
    is_behaviour: bool = False


ENDPOINTS = (
    Endpoint("behaviour", f"train loss of steps 1 to {N_EARLY_STEPS}", is_behaviour=True),
    Endpoint("train_loss", "train loss over the run"),
    Endpoint("validation_loss", "final validation loss"),
)


@dataclass
class Pairs:
    """Both sides' runs from the same starts, in one block of seeds, as they come in.

    Attributes:
        values: By role and endpoint, one positive value for each seed; NaN or infinite where a run diverged.
        accuracies: By role: on the validation images; shown, never judged.
        is_equal: Every run had the same losses and ended at the same weights, to the bit.
    """

    block: int
    values: dict[str, dict[str, list[float]]] = field(
        default_factory=lambda: {role: {e.name: [] for e in ENDPOINTS} for role in ("baseline", "candidate")}
    )
    accuracies: dict[str, list[float]] = field(default_factory=lambda: {"baseline": [], "candidate": []})
    is_equal: bool = True

    def __len__(self) -> int:
        return len(self.accuracies["baseline"])

    def add(self, baseline: Mapping[str, Any], candidate: Mapping[str, Any]) -> None:
        """Take in the probe's answers for the next seeds."""
        for role, answer in (("baseline", baseline), ("candidate", candidate)):
            for endpoint, values in _values(answer).items():
                self.values[role][endpoint] += values
            self.accuracies[role] += answer["validation_accuracies"].tolist()
        same_losses = bool((baseline["losses"] == candidate["losses"]).all())
        self.is_equal &= same_losses and baseline["digests"] == candidate["digests"]

    def diverged(self, role: str) -> list[int]:
        """Numbers of the seeds on which a side's loss became infinite or no number."""
        columns = zip(*self.values[role].values(), strict=True)
        return [k for k, values in enumerate(columns) if not all(map(math.isfinite, values))]

    def differences(self, endpoint: Endpoint) -> list[float]:
        """Log candidate - log baseline, one for each seed; negative is better."""
        baseline, candidate = (self.values[role][endpoint.name] for role in ("baseline", "candidate"))
        pairs = zip(baseline, candidate, strict=True)
        return [math.log(max(c, _SMALLEST_LOSS)) - math.log(max(b, _SMALLEST_LOSS)) for b, c in pairs]


@dataclass(frozen=True)
class Outcome:
    """What an endpoint came to in one block.

    Attributes:
        differences: Those on which it was decided; more may have been added for another endpoint.
        is_equal: All runs were equal to the bit.
    """

    decision: Decision
    differences: tuple[float, ...]
    is_equal: bool = False


def judge(pairs: Pairs, endpoint: Endpoint, margin: float, plan: Plan) -> Outcome:
    """An endpoint's outcome at the look that `pairs` has come to."""
    differences = tuple(pairs.differences(endpoint))
    decision = Decision.EQUIVALENT if pairs.is_equal else decide(differences, margin, plan)
    return Outcome(decision, differences, pairs.is_equal)


def verdict_of(endpoint: Endpoint, first: Outcome, second: Outcome | None) -> CheckVerdict:
    """What an endpoint's outcomes in the first block and, after a failure, in a second one make together."""
    if first.decision is Decision.WORSE and not endpoint.is_behaviour:
        decision = second.decision if second else Decision.UNDECIDED
        passed = (Decision.EQUIVALENT, Decision.NOT_WORSE)
        return {Decision.WORSE: CheckVerdict.FAIL, **dict.fromkeys(passed, CheckVerdict.PASS)}.get(
            decision, CheckVerdict.INCONCLUSIVE
        )
    if first.decision in (Decision.WORSE, Decision.BETTER):
        return CheckVerdict.CHANGED
    if first.decision is Decision.UNDECIDED or (endpoint.is_behaviour and first.decision is Decision.NOT_WORSE):
        return CheckVerdict.INCONCLUSIVE
    return CheckVerdict.PASS


def finding_of(
    workload: TrainingWorkload,
    endpoint: Endpoint,
    outcomes: Sequence[Outcome],
    margin: float,
    plan: Plan,
    data: Mapping[str, Any],
) -> Finding:
    """One endpoint of one workload, for a reader.

    Args:
        outcomes: Of the first block and, if it failed, of the second.
        margin: On the log scale.
        data: Raw values.
    """
    first, second = outcomes[0], outcomes[1] if len(outcomes) > 1 else None
    verdict = verdict_of(endpoint, first, second)
    shown = second if verdict is CheckVerdict.FAIL and second else first
    interval = repeated_interval(shown.differences, plan)
    text = f"{workload.name}: {endpoint.words} {_what(first, margin, plan)}"
    if second:
        text += f"; on other seeds it {_what(second, margin, plan)}"
    return Finding(
        Layer.TRAINING,
        f"{workload.name}-{endpoint.name.replace('_', '-')}",
        verdict,
        text + (": a change of behaviour" if verdict is CheckVerdict.CHANGED else ""),
        estimate=_finite_percent(mean(shown.differences)),
        low=_finite_percent(interval.lower),
        high=_finite_percent(interval.upper),
        limit=_finite_percent(margin),
        unit="%",
        data=data,
    )


def percent_words(log_ratio: float) -> str:
    """A difference of logs as "+1.23 %"; "without bound" where it is infinite, or as good as."""
    percent = _finite_percent(log_ratio)
    if percent is None:
        return "without bound"
    return f"{percent:+.3g} %" if abs(log_ratio) > _ROUNDING else "0.0000 %"


def _what(outcome: Outcome, margin: float, plan: Plan) -> str:
    n = len(outcome.differences)
    if outcome.is_equal:
        return f"is equal to the bit on {n} paired seeds, and so are all weights"
    interval = repeated_interval(outcome.differences, plan)
    low, high = percent_words(interval.lower), percent_words(interval.upper)
    moved = f"moves by {percent_words(mean(outcome.differences))} (95 % {low} to {high}) on {n} paired seeds"
    limit = percent_words(margin).lstrip("+")
    return (
        f"{moved}: "
        + {
            Decision.EQUIVALENT: f"by less than {limit} either way",
            Decision.NOT_WORSE: f"worse by less than {limit}",
            Decision.WORSE: f"worse for certain, and not surely by less than {limit}",
            Decision.BETTER: f"better for certain, and not surely by less than {limit}",
            Decision.UNDECIDED: f"neither {limit} nor 0 is excluded",
        }[outcome.decision]
    )


def _finite_percent(log_ratio: float) -> float | None:
    return 100.0 * math.expm1(log_ratio) if abs(log_ratio) < _UNBOUNDED else None


def _values(answer: Mapping[str, Any]) -> dict[str, list[float]]:
    losses: Tensor = answer["losses"].double()
    return {
        "behaviour": losses[:, :N_EARLY_STEPS].mean(1).tolist(),
        "train_loss": losses.mean(1).tolist(),
        "validation_loss": answer["validation_losses"].double().tolist(),
    }
