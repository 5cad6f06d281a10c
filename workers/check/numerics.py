"""Layer 1: the candidate's trajectories against goldens in float64, what it must equal, and what must hold of it."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from service.domain.checks import CheckVerdict, Finding, Layer, LayerResult
from workers.check.client import Probe
from workers.check.config import Arguments, CheckConfig, Equivalence
from workers.check.diagnosis import CALL_TIMEOUT_S, Setting, explain_units, trajectories
from workers.check.errors import InfrastructureError
from workers.check.grid import case_words, equivalence_cases, locate, low_precision_cases, numerics_cases, words
from workers.check.interface import compare_interface
from workers.check.judging import HUGE, Result, Unit, judge_exact, judge_rounded, on_one_line
from workers.check.probe.cases import Case
from workers.check.script import write_script

LOWER = ("float32", "bfloat16")

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Goldens:
    """Cases with the trajectories that are right, in one order.

    Attributes:
        n_left_out: Cases for which no draw kept every decision away from its threshold.
    """

    cases: Sequence[Case]
    results: Sequence[Result]
    n_left_out: int = 0

    def __getitem__(self, places: Sequence[int]) -> Goldens:
        return Goldens([self.cases[i] for i in places], [self.results[i] for i in places])


def run_numerics(baseline: Probe, candidate: Probe, config: CheckConfig, seed: int, progress: Progress) -> LayerResult:
    """Compare all trajectories.

    Raises:
        InfrastructureError: The baseline does not reproduce itself, or the reference steps no case.
        ProbeError: A side crashed, hung, or lacks what the configuration names.
    """
    started = time.monotonic()
    cases = numerics_cases(config, seed)
    progress(f"{len(cases)} cases: goldens in float64")
    goldens = make_goldens(baseline, config, cases)
    expect_reproduction(baseline, config, goldens)
    findings: list[Finding] = []
    has_moved: set[str] = set()
    patterns: dict[str, Tensor] = {}
    for variant in ({}, *config.variants):
        progress(f"float64 trajectories{_with(variant)}")
        setting = Setting(baseline, candidate, config, variant, "float64", patterns)
        findings.append(_compare(setting, goldens, has_moved))
    is_wrong = any(finding.verdict is CheckVerdict.FAIL for finding in findings)
    for variant, dtype in itertools.product(() if is_wrong else ({}, *config.variants), LOWER):
        progress(f"{dtype} trajectories{_with(variant)}")
        findings.append(_compare(Setting(baseline, candidate, config, variant, dtype), goldens, has_moved))
    if config.interface:
        progress("interface")
        agree = config.reference is None and all(finding.verdict is CheckVerdict.PASS for finding in findings)
        findings.append(compare_interface(baseline, candidate, config, with_numbers=agree))
    findings.append(_unmodified(baseline, goldens, has_moved))
    for equivalence in config.equivalences:
        progress(equivalence.name)
        findings.append(_equal(baseline, candidate, config, equivalence, seed))
    if config.properties:
        progress(", ".join(config.properties))
        findings += _properties(baseline, candidate, config, goldens)
    reason = "lower precision was not compared: float64 differs already" if is_wrong else ""
    return LayerResult(Layer.NUMERICS, tuple(findings), reason, round(time.monotonic() - started, 2))


def make_goldens(baseline: Probe, config: CheckConfig, cases: Sequence[Case]) -> Goldens:
    """Run the baseline, or the reference that the configuration names, in the baseline's process.

    Raises:
        InfrastructureError: It steps no case.
    """
    other: dict[str, Any] = {}
    if config.reference is not None:
        arguments = config.arguments if config.reference_arguments is None else config.reference_arguments
        other = {"optimizer": locate(config.reference, config.folder), "optimizer_arguments": arguments}
    results = trajectories(baseline, cases, "float64", branch_margin=config.tolerances.branch, **other)
    if all("raised" in result for result in results):
        raise InfrastructureError(f"the {'reference' if other else 'baseline'} steps no case: {results[0]['sentence']}")
    kept = [i for i, result in enumerate(results) if result.get("margin", 1.0) >= config.tolerances.branch]
    return Goldens([cases[i] for i in kept], [results[i] for i in kept], len(cases) - len(kept))


def expect_reproduction(baseline: Probe, config: CheckConfig, goldens: Goldens) -> None:
    """Have the baseline run every case again.

    Raises:
        InfrastructureError: It comes out otherwise than the golden, or, where a reference makes these, than itself.
    """
    again = trajectories(baseline, goldens.cases, "float64", given=goldens.results)
    first = goldens.results
    if config.reference is not None:
        first, again = again, trajectories(baseline, goldens.cases, "float64", given=goldens.results)
    for unit in _judge_exact(goldens.cases, first, again, config.tolerances.float64):
        if unit.is_failed:
            error = unit.note or f"its weights differ by {unit.error:.2g} of the displacement, limit {unit.limit:.2g}"
            raise InfrastructureError(
                f"the baseline does not reproduce itself: run twice with {case_words(goldens.cases[unit.case])}, "
                f"{error}; "
                "seed what it draws, or name a `reference` that is deterministic"
            )


def _compare(setting: Setting, goldens: Goldens, has_moved: set[str]) -> Finding:
    """One precision, one variant."""
    config, dtype = setting.config, setting.dtype
    if dtype == "bfloat16":
        goldens = goldens[low_precision_cases(goldens.cases)]
    overrides = {"overrides": setting.variant}
    found = trajectories(setting.candidate, goldens.cases, dtype, goldens.results, **overrides)
    has_moved |= {case_words(goldens.cases[i]) for i, result in enumerate(found) if result.get("has_moved_gradients")}
    if dtype == "float64":
        units = _judge_exact(goldens.cases, goldens.results, found, config.tolerances.float64)
    else:
        own = trajectories(setting.baseline, goldens.cases, dtype, goldens.results, **overrides)
        if all("raised" in result for result in own):  # a baseline without this path
            own = trajectories(setting.baseline, goldens.cases, dtype, goldens.results)
        units = _judge_rounded(config, goldens, own, found)
    return _finding(setting, goldens, units)


def _judge_exact(
    cases: Sequence[Case], expected: Sequence[Result], found: Sequence[Result], tolerance: float
) -> list[Unit]:
    triples = enumerate(zip(cases, expected, found, strict=True))
    return [unit for i, (case, ref, got) in triples for unit in judge_exact(i, case, ref, got, tolerance)]


def _judge_rounded(config: CheckConfig, goldens: Goldens, own: Sequence[Result], found: Sequence[Result]) -> list[Unit]:
    factor, floor = config.tolerances.float32_factor, config.tolerances.float32_floor
    quadruples = enumerate(zip(goldens.cases, goldens.results, own, found, strict=True))
    return [
        unit
        for i, (case, golden, base, got) in quadruples
        for unit in judge_rounded(i, case, golden, base, got, factor, floor)
    ]


def _finding(setting: Setting, goldens: Goldens, units: Sequence[Unit], name: str = "") -> Finding:
    failing = [unit for unit in units if unit.is_failed]
    worst = max(units, key=lambda unit: (unit.error / unit.limit, -unit.limit))
    return Finding(
        Layer.NUMERICS,
        name or f"{setting.dtype}-trajectories{_slug(setting.variant)}",
        CheckVerdict.FAIL if failing else CheckVerdict.PASS,
        _sentence(setting, goldens, units, worst),
        estimate=worst.error,
        limit=worst.limit,
        unit="of the displacement",
        explanation=explain_units(setting, goldens.cases, goldens.results, units) if failing else "",
        script=write_script(setting, goldens.cases, goldens.results, units) if failing else "",
        data=_data(goldens, units),
    )


def _sentence(setting: Setting, goldens: Goldens, units: Sequence[Unit], worst: Unit) -> str:
    n_failing = sum(unit.is_failed for unit in units)
    what = f"{setting.dtype} trajectories{_with(setting.variant)}"
    if not n_failing:
        size = f"largest error {worst.error:.2g} of the displacement, limit {worst.limit:.2g}"
        left = f"; {goldens.n_left_out} more cases are too near a threshold" if goldens.n_left_out else ""
        return f"{what} agree in all {len(goldens.cases)} cases{_refusals(goldens)} ({size}{left})"
    size = worst.note or f"error {worst.error:.2g} of the displacement, limit {worst.limit:.2g}"
    if worst.error >= HUGE and not worst.note:
        size = "not finite where the golden is"
    where = case_words(goldens.cases[worst.case])
    return f"{what} are wrong for {n_failing} of {len(units)} tensors; worst with {where}: {size}"


def _refusals(goldens: Goldens) -> str:
    """How many of the cases take no step, because the baseline refuses them; a candidate that agrees does too."""
    refused = [result["sentence"] for result in goldens.results if "raised" in result]
    if not refused:
        return ""
    why = f", as with {on_one_line(refused[0])}" if 2 * len(refused) > len(goldens.cases) else ""
    return f", {len(refused)} of which both sides refuse{why}"


def _data(goldens: Goldens, units: Sequence[Unit]) -> dict[str, Any]:
    """Per case the worst tensor: [tensor, error, limit, first step over the limit]."""
    worst: dict[str, list[Any]] = {}
    for unit in sorted(units, key=lambda unit: unit.error / unit.limit):
        error, limit = float(f"{unit.error:.4g}"), float(f"{unit.limit:.4g}")
        worst[goldens.cases[unit.case].name] = [unit.tensor, error, limit, unit.first_step]
    return {"cases": worst, "n_left_out": goldens.n_left_out}


def _unmodified(baseline: Probe, goldens: Goldens, has_moved: set[str]) -> Finding:
    own = {case_words(case) for case, golden in zip(goldens.cases, goldens.results, strict=True) if _moves(golden)}
    new = sorted(has_moved - own)
    sentence = "gradients are not modified" if not has_moved else f"{baseline.role} modifies gradients as well"
    if new:
        sentence = f"a step modifies gradients in {len(new)} cases, such as with {new[0]}; the baseline's does not"
    verdict = CheckVerdict.FAIL if new else CheckVerdict.PASS
    return Finding(Layer.NUMERICS, "gradients-unmodified", verdict, sentence, data={"cases": new})


def _moves(golden: Result) -> bool:
    return bool(golden.get("has_moved_gradients"))


def _equal(baseline: Probe, candidate: Probe, config: CheckConfig, equivalence: Equivalence, seed: int) -> Finding:
    """The candidate against the optimizer that it must equal, both in the candidate's process."""
    cases = equivalence_cases(config, seed)
    optimizer, arguments = locate(equivalence.equals, config.folder), equivalence.equals_arguments
    results = trajectories(candidate, cases, "float64", optimizer=optimizer, optimizer_arguments=arguments)
    goldens = Goldens(cases, results)
    raised = next((result for result in goldens.results if "raised" in result), None)
    if raised is not None:
        raise InfrastructureError(f"{equivalence.name}: {equivalence.equals} fails: {raised['sentence']}")
    setting = Setting(baseline, candidate, config, equivalence.arguments, "float64")
    found = trajectories(candidate, cases, "float64", goldens.results, overrides=equivalence.arguments)
    units = _judge_exact(cases, goldens.results, found, equivalence.tolerance)
    return _finding(setting, goldens, units, equivalence.name)


def _properties(baseline: Probe, candidate: Probe, config: CheckConfig, goldens: Goldens) -> list[Finding]:
    grid = [case for case in goldens.cases if case.situation == "plain" and case.scale == 1]
    cases = [case for case in grid if set(case.arguments) <= set(config.dimensions)]
    names = {locate(name, config.folder): name for name in config.properties}
    arguments = {"cases": [case.to_json() for case in cases], "names": list(names)}
    answer = candidate.call("properties", timeout_s=CALL_TIMEOUT_S, **arguments)
    failures = {name: sentence for name, sentence in answer["failures"].items() if sentence}
    own = baseline.call("properties", timeout_s=CALL_TIMEOUT_S, **arguments)["failures"] if failures else {}
    findings = []
    for place, name in names.items():
        deviation, limit = answer["sizes"].get(place, (None, None))
        sentence = f"{name} holds"
        if place in failures:
            also = "; the baseline fails it too" if own.get(place) else "; the baseline passes"
            sentence = f"{name} does not hold: {failures[place]}{also}"
        verdict = CheckVerdict.FAIL if place in failures else CheckVerdict.PASS
        finding = Finding(Layer.NUMERICS, name, verdict, sentence, estimate=deviation, limit=limit)
        findings.append(finding)
    return findings


def _with(variant: Arguments) -> str:
    return f" with {words(variant)}" if variant else ""


def _slug(variant: Mapping[str, Any]) -> str:
    text = re.sub(r"[^a-z0-9.]+", "-", words(variant).lower()).strip("-")
    return f"-{text}" if text else ""
