"""How often the numerics layer alarms where nothing but roundings changed: refactors, each with many seeds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.domain.checks import CheckVerdict, LayerResult, Side
from workers.check.client import Probe
from workers.check.config import CheckConfig, read_configs
from workers.check.numerics import run_numerics
from workers.check.plants import Plant, read_plants
from workers.check.recorded import RecordedProbe
from workers.check.selftest import make_repository
from workers.check.workspace import Workspace

_FUNCTIONS = {"functional.py", "projection.py"}
"""What adamp's capturable path runs, and no other on a CPU."""

Progress = Callable[[str], None]


@dataclass(frozen=True)
class NoopRun:
    """One run of the layer.

    Attributes:
        share: By finding, the largest error over its limit: 1 is an alarm.
    """

    name: str
    seed: int
    has_alarmed: bool
    share: dict[str, float]


def planned_runs(n_runs: int) -> list[tuple[str, int]]:
    """Refactor and seed of `n_runs` runs or a few more: every refactor with one seed, then with the next."""
    names = [plant.name for plant in _refactors()]
    return [(name, seed) for seed in range(1, -(-n_runs // len(names)) + 1) for name in names]


def noop_runs(wanted: Collection[tuple[str, int]], progress: Progress) -> Iterator[NoopRun]:
    """Run the layer for every refactor and seed of `wanted`.

    The sides stay up while the seeds change (what a run draws, it draws anew), and what the baseline answered for one
    refactor counts for the next.
    """
    refactors = {plant.name: plant for plant in _refactors()}
    with Workspace() as workspace, ExitStack() as stack:
        original = make_repository(workspace.empty("original"))
        configs = read_configs(original)
        baselines = {name: stack.enter_context(_baseline(config, original)) for name, config in configs.items()}
        candidates: dict[str, Probe] = {}
        for name, plant in refactors.items():
            changed = make_repository(workspace.empty(f"refactor-{len(candidates)}"))
            plant.apply(changed / "adamp")
            candidates[name] = stack.enter_context(_candidate(configs[plant.config], changed))
        for seed in sorted({seed for _, seed in wanted}):
            for name in (name for name in refactors if (name, seed) in wanted):
                config = _config(configs[refactors[name].config], refactors[name], is_first=seed == 1)
                result = run_numerics(baselines[config.name], candidates[name], config, seed, lambda _: None)
                run = NoopRun(name, seed, result.verdict is not CheckVerdict.PASS, _shares(result))
                progress(f"{name}, seed {seed}: {'ALARM' if run.has_alarmed else 'no alarm'}")
                yield run
            for baseline in baselines.values():
                baseline.forget()


def _config(config: CheckConfig, refactor: Plant, *, is_first: bool) -> CheckConfig:
    """Without paths that do not run what was changed, and with the interface, for which no seed draws, only once."""
    files = {edit.file for edit in refactor.edits}
    variants = config.variants if refactor.path == "plain" else ()
    if not files & _FUNCTIONS:
        variants = tuple(variant for variant in variants if not variant.get("capturable"))
    return config.model_copy(update={"variants": variants, "interface": is_first})


def _refactors() -> list[Plant]:
    return [plant for plant in read_plants() if plant.layer is None]


def _baseline(config: CheckConfig, folder: Path) -> RecordedProbe:
    return RecordedProbe(_side(config, folder), role="baseline", **_start(config, folder))


def _candidate(config: CheckConfig, folder: Path) -> Probe:
    return Probe(_side(config, folder), role="candidate", **_start(config, folder))


def _side(config: CheckConfig, folder: Path) -> Side:
    return Side(str(folder), config.optimizer, "")


def _start(config: CheckConfig, folder: Path) -> dict[str, Any]:
    return {"python": sys.executable, "arguments": dict(config.arguments), "paths": [str(folder)]}


def _shares(result: LayerResult) -> dict[str, float]:
    return {
        finding.name: float(f"{finding.estimate / finding.limit:.3g}")
        for finding in result.findings
        if finding.estimate is not None and finding.limit
    }
