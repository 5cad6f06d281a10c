"""Sides whose optimizer is one of the unit tests' planted ones, each a real process."""

import sys
from pathlib import Path

from service.domain.checks import Side
from workers.check.client import Probe
from workers.check.config import CheckConfig, make_config

PLANTED = Path(__file__).parents[2] / "unit" / "check" / "planted.py"
ARGUMENTS = {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-3, "foreach": False}


def toy_config(**table: object) -> CheckConfig:
    return make_config("toy", {"optimizer": "torch.optim:SGD", "arguments": ARGUMENTS, **table}, PLANTED.parent)


def side_of(role: str, name: str) -> Probe:
    """A process that starts with its first command."""
    side = Side(name, f"{PLANTED}:{name}", "")
    return Probe(side, role=role, python=sys.executable, arguments=ARGUMENTS)


class Stable:
    """Processes that tests share, because to import torch takes longer than what they are asked."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], Probe] = {}

    def side(self, role: str, name: str) -> Probe:
        return self._kept.setdefault((role, name), side_of(role, name))

    def close(self) -> None:
        for probe in self._kept.values():
            probe.close()
