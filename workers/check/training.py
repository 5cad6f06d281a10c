"""Layer 3: both sides train from the same starts, a few seeds at a time, until every loss is decided.

A look is taken after 4, 8, ... pairs of runs; how certain one must be at each follows from `service.domain.sequential`.
A failure is only one if other seeds show it too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from service.domain.checks import CheckVerdict, Finding, Layer, LayerResult
from service.domain.sequential import Decision, Plan
from workers.check.client import Probe
from workers.check.config import CheckConfig, TrainingWorkload
from workers.check.endpoints import ENDPOINTS, Endpoint, Outcome, Pairs, finding_of, judge
from workers.check.errors import InfrastructureError, UsageError
from workers.check.grid import words
from workers.check.training_data import starts

PAIRS_PER_LOOK = 4
CALL_TIMEOUT_S = 300.0

Progress = Callable[[str], None]


def run_training(baseline: Probe, candidate: Probe, config: CheckConfig, seed: int, progress: Progress) -> LayerResult:
    """Train every workload of the configuration, up to the first that fails.

    Raises:
        UsageError: A workload is unknown, `max_pairs` is 1, or scikit-learn is missing.
        InfrastructureError: The baseline diverges at a workload's arguments.
        ProbeError: A side crashed, hung or refused.
    """
    started = time.monotonic()
    plan = plan_of(config)
    findings: list[Finding] = []
    reason = "" if config.workloads else f"there are no `workloads` in [tool.tangent.check.{config.name}]"
    for place, workload in enumerate(config.workloads):
        findings += _Workload(baseline, candidate, config, workload, plan, seed, progress).findings()
        left = [other.name for other in config.workloads[place + 1 :]]
        if left and any(finding.verdict is CheckVerdict.FAIL for finding in findings):
            reason = f"{', '.join(left)} not run: {workload.name} failed, which decides"
            break
    return LayerResult(Layer.TRAINING, tuple(findings), reason, round(time.monotonic() - started, 2))


def plan_of(config: CheckConfig) -> Plan:
    """A look after every 4 pairs, and one at the last.

    Raises:
        UsageError: `max_pairs` is 1, which has no spread.
    """
    if config.max_pairs < 2:
        raise UsageError(f"[tool.tangent.check.{config.name}]: max_pairs must be at least 2, got {config.max_pairs}")
    regular = range(PAIRS_PER_LOOK, config.max_pairs, PAIRS_PER_LOOK)
    return Plan((*regular, config.max_pairs), is_anytime=config.anytime)


class _Workload:
    """One workload's training runs."""

    def __init__(
        self,
        baseline: Probe,
        candidate: Probe,
        config: CheckConfig,
        workload: TrainingWorkload,
        plan: Plan,
        seed: int,
        progress: Progress,
    ) -> None:
        self._sides, self._config, self._workload = (baseline, candidate), config, workload
        self._plan, self._seed, self._progress = plan, seed, progress

    def findings(self) -> list[Finding]:
        """Train a block of seeds, and another where the first fails."""
        pairs, first = self._run_block(0, ENDPOINTS)
        if pairs.diverged("candidate"):
            return [self._diverged(pairs)]
        failed = [e for e in ENDPOINTS if e.name in first and _is_failure(e, first[e.name])]
        others, second = Pairs(1), dict[str, Outcome]()
        if failed:
            self._say(f"{', '.join(e.words for e in failed)} failed; again on other seeds")
            others, second = self._run_block(1, failed)
            if others.diverged("candidate"):
                return [self._diverged(others)]
        return [self._finding(endpoint, pairs, first, others, second, bool(failed)) for endpoint in ENDPOINTS]

    def _run_block(self, block: int, endpoints: Collection[Endpoint]) -> tuple[Pairs, dict[str, Outcome]]:
        """Pairs until all endpoints are decided, one has failed, or all looks are taken."""
        pairs, outcomes = Pairs(block), dict[str, Outcome]()
        for n in self._plan.looks:
            self._train(pairs, n - len(pairs))
            if pairs.diverged("candidate"):
                break
            for endpoint in endpoints:
                before = outcomes.get(endpoint.name)
                if before is None or before.decision is Decision.UNDECIDED:
                    outcomes[endpoint.name] = judge(pairs, endpoint, self._margin(endpoint), self._plan)
            decisions = [outcomes[e.name].decision for e in endpoints]
            told = [f"{e.name.replace('_', ' ')} {d.value}" for e, d in zip(endpoints, decisions, strict=True)]
            self._say(f"{n} pairs: {', '.join(told)}" + " (to the bit)" * pairs.is_equal)
            is_failed = any(_is_failure(e, outcomes[e.name]) for e in endpoints)
            if is_failed or Decision.UNDECIDED not in decisions:
                break
        return pairs, outcomes

    def _train(self, pairs: Pairs, n_seeds: int) -> None:
        """Both sides at the same time, each in its process."""
        arguments = {
            **starts(self._workload.name, self._seed, pairs.block, len(pairs), n_seeds),
            "overrides": dict(self._workload.arguments),
            "device": self._config.device,
        }
        with ThreadPoolExecutor(len(self._sides)) as pool:
            calls = [pool.submit(_call, side, arguments) for side in self._sides]
        baseline, candidate = (call.result() for call in calls)  # the baseline's error comes first
        pairs.add(baseline, candidate)
        if pairs.diverged("baseline"):
            raise InfrastructureError(
                f"{self._workload.name}: the baseline diverges at {self._arguments}; "
                "give the workload arguments at which it trains"
            )

    def _finding(
        self,
        endpoint: Endpoint,
        pairs: Pairs,
        first: Mapping[str, Outcome],
        others: Pairs,
        second: Mapping[str, Outcome],
        is_stopped: bool,
    ) -> Finding:
        outcomes, blocks = [first[endpoint.name]], [pairs]
        if endpoint.name in second:
            outcomes, blocks = [*outcomes, second[endpoint.name]], [*blocks, others]
        data = self._data(endpoint, blocks, outcomes)
        found = finding_of(self._workload, endpoint, outcomes, self._margin(endpoint), self._plan, data)
        if is_stopped and first[endpoint.name].decision is Decision.UNDECIDED:
            sentence = f"{self._workload.name}: {endpoint.words} was not decided when another loss failed"
            return Finding(Layer.TRAINING, found.name, CheckVerdict.SKIPPED, sentence, data=found.data)
        return found

    def _data(self, endpoint: Endpoint, blocks: list[Pairs], outcomes: list[Outcome]) -> dict[str, Any]:
        return {
            "arguments": dict(self._workload.arguments),
            "seed": self._seed,
            "looks": list(self._plan.looks),
            "is_anytime": self._plan.is_anytime,
            "margin": self._margin(endpoint),
            "blocks": [
                {
                    "block": pairs.block,
                    "n_decided_on": len(outcome.differences),
                    "decision": outcome.decision.value,
                    **{role: pairs.values[role][endpoint.name] for role in pairs.values},
                    "validation_accuracy": pairs.accuracies,
                }
                for pairs, outcome in zip(blocks, outcomes, strict=True)
            ],
        }

    def _diverged(self, pairs: Pairs) -> Finding:
        seeds = pairs.diverged("candidate")
        return Finding(
            Layer.TRAINING,
            f"{self._workload.name}-divergence",
            CheckVerdict.FAIL,
            f"{self._workload.name}: the candidate diverges on {len(seeds)} of {len(pairs)} seeds at "
            f"{self._arguments}; the baseline on none",
            estimate=float(len(seeds)),
            limit=0.0,
            unit="seeds",
            data={"seed": self._seed, "block": pairs.block, "seeds": seeds},
        )

    def _margin(self, endpoint: Endpoint) -> float:
        return float(getattr(self._config.margins, endpoint.name))

    @property
    def _arguments(self) -> str:
        return words({**self._config.arguments, **self._workload.arguments})

    def _say(self, text: str) -> None:
        self._progress(f"{self._workload.name}: {text}")


def _call(side: Probe, arguments: Mapping[str, Any]) -> dict[str, Any]:
    return side.call("train", timeout_s=CALL_TIMEOUT_S, **arguments)


def _is_failure(endpoint: Endpoint, outcome: Outcome) -> bool:
    return outcome.decision is Decision.WORSE and not endpoint.is_behaviour
