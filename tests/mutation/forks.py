"""One mutant and the check: layer 1 of every configuration that runs its code, in a fork."""

import importlib
import json
import os
import re
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from service.domain.checks import CheckVerdict, Side
from workers.check import interface, numerics
from workers.check.client import Probe
from workers.check.config import CheckConfig, read_configs
from workers.check.judging import judge_exact
from workers.check.probe.commands import COMMANDS
from workers.check.probe.interface import LOOKS
from workers.check.probe.session import open_side
from workers.check.recorded import RecordedProbe

ROOT = Path(__file__).resolve().parents[2]
ONE_PATH = {"eager": " plain", "functional": " capturable", "projection": " capturable"}
"""Modules of which one path's configuration runs all that a CPU runs."""

BOTH = ("base", "checkpoints", "checks", "diagnostics")
"""Modules that AdamP and SGDP share and treat differently."""

LIMIT_S = 600


class CaughtError(Exception):
    """A finding fails: no need to explain it."""


class Here:
    """The candidate: adamp as this process finds it."""

    role = "candidate"

    def __init__(self, config: CheckConfig, folder: Path) -> None:
        self.side = Side("mutant", config.optimizer, "")
        self._make = open_side(config.optimizer, dict(config.arguments), [str(folder)], 1)
        if not Path(sys.modules["adamp"].__file__ or "").is_relative_to(folder):
            raise SystemExit("adamp was imported from elsewhere: no mutant would be what is run")

    def call(self, command: str, *, timeout_s: float, **arguments: Any) -> dict[str, Any]:  # noqa: ARG002
        return COMMANDS[command](self._make, arguments)


def load_torch() -> None:
    """Have torch import what it imports on first use, so that not every fork does."""
    param = torch.nn.Parameter(torch.ones(2))
    param.grad = torch.ones(2)
    for optimizer in (torch.optim.AdamW([param]), torch.optim.SGD([param], momentum=0.9)):
        optimizer.step()
        optimizer.load_state_dict(optimizer.state_dict())


def load_mutants(mutated: Path) -> None:
    """Import the copy that has all mutants in it, none of them chosen."""
    os.environ["MUTANT_UNDER_TEST"] = ""
    sys.path.insert(0, str(mutated))
    importlib.import_module("adamp")


def configurations() -> dict[str, CheckConfig]:
    """Those of pyproject.toml, and each with one path alone, for code that only it runs."""
    found = read_configs(ROOT)
    for key, config in list(found.items()):
        arguments = {**config.arguments, "fused": False}
        found[f"{key} plain"] = config.model_copy(update={"arguments": arguments, "variants": ()})
        if key == "adamp":
            arguments = {**arguments, "capturable": True}
            found[f"{key} capturable"] = config.model_copy(update={"arguments": arguments, "variants": ()})
    return found


class Checks:
    """The checks of all configurations, each started when it is first asked for."""

    def __init__(self, original: Path, mutated: Path, stack: ExitStack) -> None:
        self._folders, self._stack, self._made = (original, mutated), stack, dict[str, Alone]()

    def catch(self, mutant: str) -> bool:
        """Whether one of the configurations that run the mutant's code catches it; what is quick comes first."""
        chosen = [self._of(key) for key in keys_of(mutant)]
        return any(alone.sees(mutant) for alone in chosen) or any(alone.catches(mutant) for alone in chosen)

    def _of(self, key: str) -> "Alone":
        if key not in self._made:
            self._made[key] = Alone(configurations()[key], *self._folders, self._stack)
            if self._made[key].sees(""):
                raise SystemExit("the unmutated code is caught, too: nothing that follows would mean anything")
        return self._made[key]


def keys_of(mutant: str) -> list[str]:
    """AdamP's configuration, or SGDP's for what only it runs, or both; that with one path, where one runs the code."""
    file = mutant.split(".")[1]
    if file in BOTH:
        return ["adamp", "sgdp"]
    is_sgdps = re.search("sgd|momentum", mutant.lower())
    if file == "eager" and not is_sgdps and "adam" not in mutant.rsplit(".", 1)[1]:
        return ["adamp plain", "sgdp plain"]
    return [("sgdp" if is_sgdps else "adamp") + ONE_PATH.get(file, "")]


class Alone:
    """The numerics layer of one configuration, its baseline's answers recorded."""

    def __init__(self, config: CheckConfig, original: Path, mutated: Path, stack: ExitStack) -> None:
        # The interface is looked at apart, a part at a time.
        self._config, self._folder = config.model_copy(update={"interface": False}), mutated
        side = Side("original", config.optimizer, "")
        start = {"python": sys.executable, "arguments": config.arguments, "paths": [str(original)]}
        self._baseline = stack.enter_context(RecordedProbe(side, role="baseline", **start))
        start = {**start, "paths": [str(mutated)], "environment": {"MUTANT_UNDER_TEST": ""}}
        with Probe(side, role="candidate", **start) as candidate:
            result = numerics.run_numerics(self._baseline, candidate, self._config, 0, lambda _: None)
            if result.verdict is not CheckVerdict.PASS or self._shows_otherwise(candidate):
                raise SystemExit(f"adamp fails its own check {config.name}")

    def sees(self, mutant: str) -> bool:
        """Whether the interface, or the first steps of some cases, differ."""
        return self._in_a_fork(mutant, self._look)

    def catches(self, mutant: str) -> bool:
        """Whether numerics fail, or say that something has changed."""
        return self._in_a_fork(mutant, self._run)

    def _in_a_fork(self, mutant: str, act: Callable[[Any], bool]) -> bool:
        """A mutant that raises, hangs or crashes is caught."""
        if (pid := os.fork()) == 0:
            signal.alarm(LIMIT_S)
            os.environ["MUTANT_UNDER_TEST"] = mutant
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            try:
                os._exit(int(act(Here(self._config, self._folder))))
            except BaseException:  # noqa: BLE001 — what a mutant raises gives it away
                os._exit(1)
        return os.waitpid(pid, 0)[1] != 0

    def _look(self, candidate: Any) -> bool:
        return self._first_look(candidate) or self._shows_otherwise(candidate)

    def _run(self, candidate: Any) -> bool:
        result = numerics.run_numerics(self._baseline, candidate, self._config, 0, lambda _: None)
        return result.verdict is not CheckVerdict.PASS

    def _first_look(self, candidate: Any) -> bool:
        """Whether the first steps of some cases of the grid, which are cheap, give it away already."""
        config = self._config
        goldens = numerics.make_goldens(self._baseline, config, numerics.numerics_cases(config, 0))
        grid = [i for i, case in enumerate(goldens.cases) if case.situation == "plain"]
        chosen = goldens[grid[::5]]
        cases = [replace(case, steps=3) for case in chosen.cases]
        starts = [
            {**golden, "weights": golden["weights"][:4], "returned": golden["returned"][:3]}
            for golden in chosen.results
        ]
        overrides = config.variants[-1] if config.variants else {}
        found = numerics.trajectories(candidate, cases, "float64", starts, overrides=overrides)
        triples = enumerate(zip(cases, starts, found, strict=True))
        units = [u for i, (c, ref, got) in triples for u in judge_exact(i, c, ref, got, config.tolerances.float64)]
        return any(unit.is_failed for unit in units)

    def _shows_otherwise(self, candidate: Any) -> bool:
        """Whether the interface differs, look by look: one is enough."""
        request = json.loads(json.dumps(interface.request_of(self._config)))
        for look in LOOKS:
            wanted = {**request, "looks": [look]}
            sides = (self._baseline, candidate)
            expected, found = (side.call("interface", timeout_s=LIMIT_S, **wanted)["leaves"] for side in sides)
            if interface.differences(expected, found):
                return True
        return False


def stop_early() -> None:
    """End a check at its first failing finding."""
    numerics.explain_units = numerics.write_script = _stop


def _stop(*_: Any) -> str:
    raise CaughtError
