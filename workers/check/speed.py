"""Layer 2: what a step costs. Counts must be equal; times are compared in rounds in which the two sides take turns."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from service.domain.checks import CheckVerdict, Finding, Layer, LayerResult
from workers.check.client import Probe
from workers.check.config import CheckConfig
from workers.check.probe.subjects import SUBJECTS
from workers.check.timing import ROUNDS, Timing, judge_timing

COUNTED_STEPS = 10
BURST_S = 0.012
MOST_STEPS = 2000
CALL_TIMEOUT_S = 120.0
ROUNDS_PER_PROCESS = 24  # at most
_WAITS_PER_STEP = 0.5  # more than the baseline's by this: it sleeps, locks or reads files at every second step

Progress = Callable[[str], None]
Round = list[tuple[str, dict[str, Any]]]


def run_speed(baseline: Probe, candidate: Probe, config: CheckConfig, seed: int, progress: Progress) -> LayerResult:
    """Count, then time.

    Raises:
        ProbeError: A side crashed, hung or refused.
    """
    started = time.monotonic()
    progress(f"counting over {COUNTED_STEPS} steps")
    findings = count(baseline, candidate, config, seed)
    reason = ""
    if any(finding.verdict is CheckVerdict.FAIL for finding in findings):
        reason = "not timed: a counter failed, which decides"
    else:
        for subject in SUBJECTS:
            findings.append(time_subject(baseline, candidate, config, seed, subject, progress))
    return LayerResult(Layer.SPEED, tuple(findings), reason, round(time.monotonic() - started, 2))


def count(baseline: Probe, candidate: Probe, config: CheckConfig, seed: int) -> list[Finding]:
    """Compare the counters of both sides."""
    asked = {"subject": "small", "steps": COUNTED_STEPS, "seed": seed, "device": config.device}
    before, after = (side.call("counters", timeout_s=CALL_TIMEOUT_S, **asked) for side in (baseline, candidate))
    findings = [
        compare_counts("aten-operators", "operators a step", before["operators"], after["operators"], COUNTED_STEPS),
        compare_counts("host-reads", "reads by the host a step", before["reads"], after["reads"], COUNTED_STEPS),
        compare_counts(
            "state-bytes", "bytes kept a parameter", before["state_bytes"], after["state_bytes"], before["n_parameters"]
        ),
    ]
    for name, words, key in (("launches", "kernel launches", "launches"), ("host-waits", "waits of the host", "waits")):
        if before[key] is not None and after[key] is not None:
            counts = ({words: before[key]}, {words: after[key]})
            findings.append(compare_counts(name, f"{words} a step", *counts, COUNTED_STEPS))
    return findings


def compare_counts(
    name: str, words: str, baseline: Mapping[str, int], candidate: Mapping[str, int], n_units: int
) -> Finding:
    """A counter's finding: equal passes, more fails, less asks for a new baseline.

    Args:
        name: Of the finding.
        words: What is counted, with its unit: "operators a step".
        baseline: Counts by kind.
        candidate: Likewise.
        n_units: Steps or parameters, by which the sums are divided.
    """
    before, after = sum(baseline.values()), sum(candidate.values())
    shown = f"{_rounded(after / n_units)} {words}, the baseline {_rounded(before / n_units)}"
    if after == before:
        verdict, sentence = CheckVerdict.PASS, f"{_rounded(after / n_units)} {words}, as the baseline"
    elif after > before:
        verdict, sentence = CheckVerdict.FAIL, f"{shown}: more is a loss"
    else:
        verdict, sentence = CheckVerdict.CHANGED, f"{shown}: an improvement; update the baseline"
    return Finding(
        Layer.SPEED,
        name,
        verdict,
        sentence,
        estimate=after / n_units,
        limit=before / n_units,
        unit=words,
        explanation="" if after == before else f"by kind: {'; '.join(_moves(baseline, candidate, n_units))}",
        data={"baseline": dict(baseline), "candidate": dict(candidate), "n_units": n_units},
    )


def time_subject(
    baseline: Probe, candidate: Probe, config: CheckConfig, seed: int, subject: str, progress: Progress
) -> Finding:
    """Rounds of bursts until it is decided, or the budget is spent.

    Where a process's memory comes to lie makes its steps some per cent faster or slower for as long as it lives. So
    what the first processes do not let pass goes on in new ones, and no loss of speed is found in the first alone.
    """
    asked = {"subject": subject, "seed": seed, "device": config.device}

    def measure(n_steps: int) -> dict[str, Any]:
        """Of the baseline; the candidate steps along, because an optimizer's steps may cost less and less."""
        _burst(candidate, n_steps, asked)
        return _burst(baseline, n_steps, asked)

    n_steps, budget_s = steps_of_a_burst(measure), config.speed_budget_s / len(SUBJECTS)
    rounds: list[Round] = []
    for n_rounds in ROUNDS:
        while len(rounds) < n_rounds and (len(rounds) < ROUNDS[1] or budget_s > 0):
            if is_renewed_before(len(rounds)):
                _renew(baseline, candidate, n_steps, asked)
            began = time.monotonic()
            order = _order(baseline, candidate, len(rounds))
            rounds.append([(side.role, _burst(side, n_steps, asked)) for side in order])
            budget_s -= time.monotonic() - began
        timing = judge_timing([log_ratio(one) for one in rounds], config.speed_limit)
        progress(f"{subject} tensors: {len(rounds)} rounds of 4 bursts, {_range_words(timing)}")
        is_decided = timing.verdict is CheckVerdict.PASS or (
            timing.verdict is CheckVerdict.FAIL and len(rounds) > ROUNDS[0]
        )
        if is_decided or len(rounds) < n_rounds:
            break
    return timing_finding(subject, rounds, n_steps, config.speed_limit)


def is_renewed_before(n_rounds: int) -> bool:
    """Whether both sides get new processes after so many rounds."""
    return n_rounds > 0 and (n_rounds == ROUNDS[0] or n_rounds % ROUNDS_PER_PROCESS == 0)


def _renew(baseline: Probe, candidate: Probe, n_steps: int, asked: Mapping[str, Any]) -> None:
    for side in (baseline, candidate):
        side.close()
    for side in (baseline, candidate):
        _burst(side, n_steps, asked)


def steps_of_a_burst(measure: Callable[[int], Mapping[str, Any]]) -> int:
    """So many steps that the baseline's burst takes about BURST_S.

    Args:
        measure: Takes that number of steps; the answer's "time_s" counts.
    """
    n_steps = 1
    while (took_s := float(measure(n_steps)["time_s"])) < BURST_S / 2 and n_steps < MOST_STEPS:
        n_steps *= 4
    return max(1, min(MOST_STEPS, round(n_steps * BURST_S / max(took_s, 1e-9))))


def log_ratio(one: Round) -> float:
    """Of one round: mean log time of the candidate's bursts minus that of the baseline's."""
    logs = {role: [math.log(answer["time_s"]) for who, answer in one if who == role] for role in dict(one)}
    return statistics.fmean(logs["candidate"]) - statistics.fmean(logs["baseline"])


def timing_finding(subject: str, rounds: list[Round], n_steps: int, limit: float) -> Finding:
    """The finding on what was timed.

    Args:
        rounds: Each four bursts with their sides' roles.
        n_steps: Of one burst.
        limit: Largest ratio minus 1 that passes.
    """
    timing = judge_timing([log_ratio(one) for one in rounds], limit)
    bursts = [pair for one in rounds for pair in one]
    before, after = (_waits(bursts, role, n_steps) for role in ("baseline", "candidate"))
    is_waiting = after > before + _WAITS_PER_STEP
    told = {
        CheckVerdict.PASS: f"less than {_percent(limit)} slower",
        CheckVerdict.FAIL: f"more than {_percent(limit)} slower",
        CheckVerdict.INCONCLUSIVE: f"{_percent(limit)} is not excluded; again on a quieter machine, or with more "
        "speed_budget_s",
    }[timing.verdict]
    return Finding(
        Layer.SPEED,
        f"step-time-{subject}",
        timing.verdict,
        f"a step on {subject} tensors: {_range_words(timing)} in {len(rounds)} rounds: {told}",
        estimate=100 * timing.slower,
        low=100 * timing.low,
        high=100 * timing.high,
        limit=100 * limit,
        unit="%",
        explanation=_waiting_words(before, after) if is_waiting else "",
        data={
            "n_steps": n_steps,
            "level": 0.99,
            "new_processes_after": [n for n in range(len(rounds)) if is_renewed_before(n)],
            "step_us": {role: _step_us(bursts, role, n_steps) for role in ("baseline", "candidate")},
            "rounds": [[{"side": role, **answer} for role, answer in one] for one in rounds],
        },
    )


def _burst(side: Probe, n_steps: int, asked: Mapping[str, Any]) -> dict[str, Any]:
    return side.call("burst", timeout_s=CALL_TIMEOUT_S, steps=n_steps, **asked)


def _order(baseline: Probe, candidate: Probe, number: int) -> tuple[Probe, ...]:
    """A B B A, then B A A B: a drift of the machine hits both alike."""
    first, then = (baseline, candidate) if number % 2 == 0 else (candidate, baseline)
    return first, then, then, first


def _waits(bursts: Round, role: str, n_steps: int) -> float:
    return statistics.median(float(answer["waits"]) for who, answer in bursts if who == role) / n_steps


def _step_us(bursts: Round, role: str, n_steps: int) -> float:
    return 1e6 * statistics.median(float(answer["time_s"]) for who, answer in bursts if who == role) / n_steps


def _waiting_words(before: float, after: float) -> str:
    return (
        f"it gives the processor away {after:.2g} times a step of its own accord, the baseline {before:.2g} times: "
        "a sleep, a lock or a file"
    )


def _moves(baseline: Mapping[str, int], candidate: Mapping[str, int], n_units: int) -> Iterator[str]:
    """What is counted differently, the largest difference first."""
    kinds = sorted({*baseline, *candidate}, key=lambda kind: -abs(candidate.get(kind, 0) - baseline.get(kind, 0)))
    for kind in kinds:
        before, after = baseline.get(kind, 0) / n_units, candidate.get(kind, 0) / n_units
        if before != after:
            yield f"{kind} {_rounded(before)} to {_rounded(after)}"


def _rounded(number: float) -> str:
    return f"{number:.4g}"


def _range_words(timing: Timing) -> str:
    low, high = (f"{100 * value:+.1f} %" for value in (timing.low, timing.high))
    return f"{100 * timing.slower:+.1f} % time (99 % {low} to {high})"


def _percent(limit: float) -> str:
    return f"{100 * limit:g} %"
