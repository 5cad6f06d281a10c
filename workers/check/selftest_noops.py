"""How often the numerics layer alarms where nothing but roundings changed: refactors, each with many seeds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.domain.checks import CheckVerdict, LayerResult, Side
from workers.check.client import Probe
from workers.check.config import CheckConfig, read_configs
from workers.check.numerics import run_numerics
from workers.check.plants import Plant, read_plants
from workers.check.selftest import make_repository
from workers.check.workspace import Workspace

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


def noop_runs(n_runs: int, progress: Progress) -> Iterator[NoopRun]:
    """Run every refactor with the same number of seeds, `n_runs` in all or a few more.

    Both sides stay up while the seeds change: what a run draws, it draws anew.
    """
    refactors = [plant for plant in read_plants() if plant.layer is None]
    n_seeds = -(-n_runs // len(refactors))
    with Workspace() as workspace:
        original = make_repository(workspace.empty("original"))
        configs = read_configs(original)
        for place, plant in enumerate(refactors):
            changed = make_repository(workspace.empty(f"refactor-{place}"))
            plant.apply(changed / "adamp")
            yield from _runs(plant, configs[plant.config], (original, changed), n_seeds, progress)


def _runs(
    plant: Plant, config: CheckConfig, folders: tuple[Path, Path], n_seeds: int, progress: Progress
) -> Iterator[NoopRun]:
    baseline, candidate = (_probe(config, folder, role) for folder, role in zip(folders, _ROLES, strict=True))
    with baseline, candidate:
        for seed in range(1, n_seeds + 1):
            result = run_numerics(baseline, candidate, config, seed, lambda _: None)
            run = NoopRun(plant.name, seed, result.verdict is not CheckVerdict.PASS, _shares(result))
            progress(f"{plant.name}, seed {seed}: {'ALARM' if run.has_alarmed else 'no alarm'}")
            yield run


_ROLES = ("baseline", "candidate")


def _probe(config: CheckConfig, folder: Path, role: str) -> Probe:
    arguments: dict[str, Any] = dict(config.arguments)
    side = Side(str(folder), config.optimizer, "")
    return Probe(side, role=role, python=sys.executable, arguments=arguments, paths=[str(folder)])


def _shares(result: LayerResult) -> dict[str, float]:
    return {
        finding.name: float(f"{finding.estimate / finding.limit:.3g}")
        for finding in result.findings
        if finding.estimate is not None and finding.limit
    }
