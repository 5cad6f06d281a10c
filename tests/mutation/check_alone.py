"""Mutants of adamp that numerics of the check catch alone: `python -m tests.mutation.check_alone [S] [FILE ...]`.

FILE is one of adamp's modules; S is the number of seconds after which no further mutant is begun. What was found is
kept in build/check-mutants.txt, and the next run goes on, but for modules that have changed since.

Writes docs/check-mutation.json and .md. mutmut makes the mutants and must be importable, with libcst; it is no
dependency of the tests. Every mutant runs in a fork of this process: torch is loaded once, adamp in the fork.
"""

import ast
import difflib
import functools
import hashlib
import importlib.metadata
import json
import math
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from service.domain.checks import CheckVerdict, Side
from tests.mutation import check_page
from tests.mutation.check_reasons import unseen
from tests.mutation.make import function_of
from tests.mutation.reasons import EQUAL_LENGTHS, PRESERVED, UNDECIDED, reason_of
from workers.check import interface, numerics
from workers.check.client import Probe
from workers.check.config import CheckConfig, read_configs
from workers.check.judging import judge_exact
from workers.check.probe.commands import COMMANDS
from workers.check.probe.interface import LOOKS
from workers.check.probe.session import open_side
from workers.check.recorded import RecordedProbe

ROOT = Path(__file__).resolve().parents[2]
FILES = ("adam", "sgd", "base", "checkpoints", "checks", "diagnostics", "functional", "projection", "eager")
KEPT = ROOT / "build" / "check-mutants.txt"
ONE_PATH = {"eager": " plain", "functional": " capturable", "projection": " capturable"}
"""Modules of which one path's configuration runs all that a CPU runs."""

UNREACHED = r"sgdw|functional\.\w*(sgdp|momentum)"
"""What no step of a checked optimizer runs on a CPU: no table of tool.tangent.check names SGDW."""

LIMIT_S = 600


class CaughtError(Exception):
    """A finding fails: no need to explain it."""


class Here:
    """The candidate: adamp as this process finds it."""

    role = "candidate"

    def __init__(self, config: CheckConfig, folder: Path) -> None:
        self.side = Side("mutant", config.optimizer, "")
        self._make = open_side(config.optimizer, dict(config.arguments), [str(folder)], 1)

    def call(self, command: str, *, timeout_s: float, **arguments: Any) -> dict[str, Any]:  # noqa: ARG002
        return COMMANDS[command](self._make, arguments)


def main() -> None:
    """Mutate, check each mutant, judge the survivors, write."""
    torch.set_num_threads(1)
    load_torch()
    numerics.explain_units = numerics.write_script = _stop
    numbers = [float(word) for word in sys.argv[1:] if word not in FILES]
    end = time.monotonic() + (numbers[0] if numbers else math.inf)
    chosen = [word for word in sys.argv[1:] if word in FILES] or FILES
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        original, mutated = Path(name, "original"), Path(name, "mutated")
        names, sources = make_mutants(original, mutated)
        names = {file: [name for name in names[file] if not re.search(UNREACHED, name, re.I)] for file in FILES}
        every = [describe(mutant, sources[file]) for file in FILES for mutant in names[file]]
        alike = {entry["name"]: "survived" for entry in every if entry["reason"] in (EQUAL_LENGTHS, PRESERVED)}
        known = {**kept_verdicts(original), **alike}
        wanted = [entry["name"] for entry in every if entry["name"] not in known]
        wanted = [name for name in wanted if name.split(".")[1] in chosen]
        known |= verdicts_of(wanted, Checks(original, mutated, stack), end)
        write(names, known, every)


def kept_verdicts(original: Path) -> dict[str, str]:
    """Verdicts of earlier runs on the modules as they are."""
    codes = {file: code_of(original, file) for file in FILES}
    lines = (line.split() for line in KEPT.read_text().splitlines()) if KEPT.exists() else ()
    return {name: verdict for name, verdict, code in lines if code == codes[name.split(".")[1]]}


@functools.cache
def code_of(original: Path, file: str) -> str:
    """A hash of one module's source."""
    return hashlib.sha256((original / "adamp" / f"{file}.py").read_bytes()).hexdigest()[:12]


def load_torch() -> None:
    """Have torch import what it imports on first use, so that not every fork does."""
    param = torch.nn.Parameter(torch.ones(2))
    param.grad = torch.ones(2)
    for optimizer in (torch.optim.AdamW([param]), torch.optim.SGD([param], momentum=0.9)):
        optimizer.step()
        optimizer.load_state_dict(optimizer.state_dict())


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
        self.original = original

    def of(self, mutant: str) -> "Alone":
        """AdamP's check, or SGDP's for code that only it runs; with the one path that runs it, where there is one."""
        key = "sgdp" if re.search("sgd|momentum", mutant.lower()) else "adamp"
        key += ONE_PATH.get(mutant.split(".")[1], "")
        if key not in self._made:
            self._made[key] = Alone(configurations()[key], *self._folders, self._stack)
            if self._made[key].sees(""):
                raise SystemExit("the unmutated code is caught, too: nothing that follows would mean anything")
        return self._made[key]


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
        """What `catches` says before the cases that take long."""
        return self._in_a_fork(mutant, self._look)

    def catches(self, mutant: str) -> bool:
        """Whether the layer fails, or says that something has changed."""
        return self._in_a_fork(mutant, self._run)

    def _in_a_fork(self, mutant: str, act: Callable[[Any], bool]) -> bool:
        """A mutant that raises, hangs or crashes is caught."""
        if "adamp" in sys.modules:
            raise SystemExit("adamp was imported before the fork: no mutant would be what is run")
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
        if self._look(candidate):
            return True
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


def make_mutants(original: Path, mutated: Path) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Two copies of adamp, one with all mutants in it; their names and the generated sources by file."""
    from mutmut.mutation.file_mutation import mutate_file_contents

    names, sources = {}, {}
    mutated.mkdir(parents=True)
    (mutated / "pyproject.toml").write_text('[tool.mutmut]\nsource_paths = ["adamp"]\n')
    os.chdir(mutated)  # mutmut reads its configuration there
    for folder in (original, mutated):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / "adamp", folder / "adamp", ignore=ignored)
    for file in FILES:
        path = mutated / "adamp" / f"{file}.py"
        result = mutate_file_contents(str(path), path.read_text())
        path.write_text(result.code)
        sources[file] = result.code
        names[file] = [f"adamp.{file}.{mutant}" for mutant in result.mutant_names]
    return names, sources


def verdicts_of(mutants: list[str], checks: Checks, end: float) -> dict[str, str]:
    """Each mutant's verdict, kept when it is there, until the time is up."""
    found: dict[str, str] = {}
    KEPT.parent.mkdir(exist_ok=True)
    with KEPT.open("a") as file:
        for n, mutant in enumerate(mutants):
            if time.monotonic() > end:
                break
            found[mutant] = "caught" if checks.of(mutant).catches(mutant) else "survived"
            file.write(f"{mutant} {found[mutant]} {code_of(checks.original, mutant.split('.')[1])}\n")
            file.flush()
            print(f"{n + 1}/{len(mutants)} {mutant} {found[mutant]}", flush=True)  # noqa: T201
    return found


def write(names: dict[str, list[str]], verdicts: dict[str, str], every: list[dict[str, Any]]) -> None:
    """The data and the page, of the mutants that have a verdict."""
    n_run = {file: sum(mutant in verdicts for mutant in mutants) for file, mutants in names.items()}
    from workers.environment import cpu_model  # which imports adamp, of which this process must know nothing before

    git = ["git", "rev-parse", "--short", "HEAD"]
    document = {
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {
            "mutmut": importlib.metadata.version("mutmut"),
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "machine": f"{os.cpu_count()} x {cpu_model()}",
        "code": subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip(),
        "n_mutants": n_run,
        "not_run": {file: len(names[file]) - n for file, n in n_run.items() if n < len(names[file])},
        "survivors": [entry for entry in every if verdicts.get(entry["name"]) == "survived"],
    }
    check_page.DATA.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    check_page.PAGE.write_text(check_page.render(document))


@functools.cache
def texts_of(source: str) -> dict[str, str]:
    """Every function's text by its name, the name taken out."""
    lines = source.splitlines()
    nodes = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef))
    return {node.name: "\n".join(lines[node.lineno - 1 : node.end_lineno]).replace(node.name, "") for node in nodes}


def describe(name: str, source: str) -> dict[str, Any]:
    """The function, the lines before and after, and why it survives."""
    texts = texts_of(source)
    own = name.rsplit(".", 1)[1]
    before, after = texts[own.rsplit("__mutmut", 1)[0] + "__mutmut_orig"], texts[own]
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    change = [f"{line[0]} {line[1:].strip()}" for line in lines if line[0] in "+-" and line[:3] not in ("+++", "---")]
    function = function_of(name)
    reason = reason_of(function, change)
    reason = unseen(function, change) if reason == UNDECIDED else reason
    return {
        "name": name,
        "function": function,
        "change": change,
        "reason": reason,
        "is_equivalent": reason.startswith("Equivalent"),
    }


def _stop(*_: Any) -> str:
    raise CaughtError


if __name__ == "__main__":
    main()
