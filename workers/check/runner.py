"""One optimizer's check: the layers in their order, until it is decided, as a report."""

from __future__ import annotations

import importlib
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from service.domain.checks import Check, CheckVerdict, Finding, Layer, LayerResult
from workers.check.acknowledgement import with_acknowledgement
from workers.check.client import Probe, ProbeCrashedError, ProbeError, ProbeRefusedError, ProbeTimeoutError
from workers.check.config import CheckConfig
from workers.check.errors import InfrastructureError, UsageError
from workers.check.git import shown
from workers.check.preflight import expect_accepted
from workers.check.sources import Source, expect_origin, open_probe
from workers.check.traces import place_of
from workers.environment import cpu_model

Progress = Callable[[str], None]
Run = Callable[[Probe, Probe, CheckConfig, int, Progress], LayerResult]

_MODULES = {layer: (f"workers.check.{layer.value}", f"run_{layer.value}") for layer in Layer}


@dataclass(frozen=True)
class Plan:
    """What a check does besides its configuration.

    Attributes:
        layers: Those that run; the others are skipped because they were not asked for.
        acknowledged: How a change of behaviour was acknowledged, or "".
        command: The command line that repeats the check, without --seed and --layers.
        skips_unchanged: Nothing runs where the package's files are the same on both sides.
        trusts_config: What the configuration names is not looked for first: in a bisection old commits may lack what
            a newer configuration names.
    """

    config: CheckConfig
    baseline: Source
    candidate: Source
    seed: int
    layers: Sequence[Layer]
    acknowledged: str
    command: str
    skips_unchanged: bool = False
    trusts_config: bool = False

    @property
    def is_unchanged(self) -> bool:
        """Whether the package's files are the same on both sides."""
        return self.baseline.digest != "" and self.baseline.digest == self.candidate.digest


def run_check(plan: Plan, progress: Progress) -> Check:
    """Start both sides and compare them.

    Raises:
        UsageError: The baseline has no such class, or its constructor refuses the configuration's arguments; both sides
            refuse something else that the configuration names.
        InfrastructureError: A side does not start, or the baseline fails.
    """
    started = time.monotonic()
    created_at = datetime.now(UTC).astimezone().isoformat(timespec="seconds")
    if plan.is_unchanged:
        advice = "" if plan.skips_unchanged else "; with --skip-unchanged nothing would run"
        progress(f"the package is the same on both sides{advice}")
    if plan.is_unchanged and plan.skips_unchanged:
        sides = plan.baseline.side, plan.candidate.side
        layers = [LayerResult(layer, reason="the package is the same on both sides") for layer in Layer]
    else:
        with (
            _opened(plan.baseline, "baseline", plan.config, progress) as baseline,
            _opened(plan.candidate, "candidate", plan.config, progress) as candidate,
        ):
            if not plan.trusts_config:
                _expect_accepted(baseline, candidate, plan.config)
            layers = _run_layers(plan, baseline, candidate, progress)
            sides = baseline.side, candidate.side
    return Check(
        name=plan.config.name,
        baseline=sides[0],
        candidate=sides[1],
        layers=tuple(layers),
        seed=plan.seed,
        config=plan.config.model_dump(mode="json", exclude={"folder"}),
        environment=_environment(),
        acknowledged=plan.acknowledged,
        created_at=created_at,
        duration_s=round(time.monotonic() - started, 2),
    )


def _opened(source: Source, role: str, config: CheckConfig, progress: Progress) -> Probe:
    """A side that answers and runs its own code."""
    progress(f"starting the {role}")
    probe = open_probe(source, role, config)
    try:
        probe.open()
        expect_origin(probe, source)
        if not probe.description["is_torch_optimizer"]:
            raise InfrastructureError(
                f"the {role} ({shown(source.side.given)}): {source.side.optimizer} is no torch.optim.Optimizer"
            )
    except ProbeRefusedError as error:
        probe.close()
        is_wrong_call = role == "baseline" and error.kind in ("construct", "absent")
        kind = UsageError if is_wrong_call else InfrastructureError
        raise kind(str(error), error.traceback) from error
    except ProbeError as error:
        probe.close()
        raise InfrastructureError(str(error), error.traceback) from error
    except BaseException:
        probe.close()
        raise
    return probe


def _expect_accepted(baseline: Probe, candidate: Probe, config: CheckConfig) -> None:
    try:
        expect_accepted(baseline, candidate, config)
    except ProbeError as error:
        raise InfrastructureError(str(error), error.traceback) from error


def _run_layers(plan: Plan, baseline: Probe, candidate: Probe, progress: Progress) -> list[LayerResult]:
    results: list[LayerResult] = []
    for layer in Layer:
        failed = next((result.layer for result in results if result.verdict is CheckVerdict.FAIL), None)
        if layer not in plan.layers:
            results.append(LayerResult(layer, reason="not asked for"))
        elif failed is not None:
            results.append(LayerResult(layer, reason=f"not run: {failed.value} failed, which decides"))
        else:
            results.append(_run_layer(plan, layer, baseline, candidate, progress))
    return results


def _run_layer(plan: Plan, layer: Layer, baseline: Probe, candidate: Probe, progress: Progress) -> LayerResult:
    started = time.monotonic()
    try:
        run = _run_of(layer)
        result = run(baseline, candidate, plan.config, plan.seed, lambda text: progress(f"{layer.value}: {text}"))
    except ProbeError as error:
        result = LayerResult(layer, (_broken(layer, error, baseline),))
    if plan.acknowledged and plan.config.reference is None:
        result = with_acknowledgement(result)
    command = f"{plan.command} --seed {plan.seed} --layers {layer.value}"
    findings = tuple(replace(finding, command=finding.command or command) for finding in result.findings)
    return replace(result, findings=findings, duration_s=round(time.monotonic() - started, 2))


def _run_of(layer: Layer) -> Run:
    """The layer's function, imported when it is its turn: scipy and the workloads take seconds."""
    module, name = _MODULES[layer]
    run: Run = getattr(importlib.import_module(module), name)
    return run


def _broken(layer: Layer, error: ProbeError, baseline: Probe) -> Finding:
    """A finding of a candidate that crashed, hung or raised at what its baseline does.

    Raises:
        InfrastructureError: The baseline does so too.
    """
    if error.role == "baseline" or error.request is None:
        raise InfrastructureError(str(error), error.traceback) from error
    request = error.request
    try:
        baseline.call(request.command, timeout_s=request.timeout_s, **request.arguments)
    except ProbeError as other:
        raise InfrastructureError(f"{other}; so does the candidate", other.traceback) from error
    names = {ProbeCrashedError: "candidate-crash", ProbeTimeoutError: "candidate-hang"}
    return Finding(
        layer,
        names.get(type(error), "candidate-error"),
        CheckVerdict.FAIL,
        f"{error}; the baseline does not",
        explanation=place_of(error.traceback, error.role),
        data={"command": request.command, "log": error.traceback.strip()},
    )


def _environment() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": cpu_model(),
        "n_cpus": os.cpu_count(),
        "load_1min": round(os.getloadavg()[0], 2),
    }
