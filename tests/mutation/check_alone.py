"""Which mutants of adamp the check's numerics layer catches alone: `python -m tests.mutation.check_alone [FILE ...]`.

FILE is one of adamp's modules, or what an earlier run on the same code printed: its mutants are not run again.

Writes docs/check-mutation.json and .md. mutmut makes the mutants and must be importable, with libcst; it is no
dependency of the tests. Every mutant runs in a fork of this process: torch is loaded once, adamp in the fork.
"""

import ast
import difflib
import functools
import importlib.metadata
import json
import os
import platform
import re
import shutil
import signal
import sys
import tempfile
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
from workers.check import numerics
from workers.check.client import Probe
from workers.check.config import CheckConfig, read_configs
from workers.check.judging import judge_exact
from workers.check.probe.commands import COMMANDS
from workers.check.probe.session import open_side
from workers.check.recorded import RecordedProbe

ROOT = Path(__file__).resolve().parents[2]
FILES = ("eager", "functional", "projection", "adam", "sgd", "base", "checkpoints")
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
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        original, mutated = Path(name, "original"), Path(name, "mutated")
        names, sources = make_mutants(original, mutated)
        chosen = [word for word in sys.argv[1:] if word in FILES] or FILES
        paths = {ONE_PATH.get(file, "") for file in chosen}
        wanted = {
            key: config
            for key, config in configurations().items()
            if key.removeprefix("adamp").removeprefix("sgdp") in paths
        }
        checks = {key: Alone(config, original, mutated, stack) for key, config in wanted.items()}
        if any(check.catches("") for check in checks.values()):
            raise SystemExit("the unmutated code is caught, too: nothing that follows would mean anything")
        not_run = {file: len(mutants) for file, mutants in names.items() if file not in chosen}
        names = {file: [name for name in names[file] if not re.search(UNREACHED, name, re.I)] for file in chosen}
        every = [describe(mutant, sources[file]) for file in chosen for mutant in names[file]]
        alike = [entry["name"] for entry in every if entry["reason"] in (EQUAL_LENGTHS, PRESERVED)]
        survivors = {*alike, *survivors_of([entry["name"] for entry in every if entry["name"] not in alike], checks)}
        write(names, not_run, [entry for entry in every if entry["name"] in survivors])


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


class Alone:
    """The numerics layer of one configuration, its baseline's answers recorded."""

    def __init__(self, config: CheckConfig, original: Path, mutated: Path, stack: ExitStack) -> None:
        self._config, self._folder = config, mutated
        side = Side("original", config.optimizer, "")
        start = {"python": sys.executable, "arguments": config.arguments, "paths": [str(original)]}
        self._baseline = stack.enter_context(RecordedProbe(side, role="baseline", **start))
        with Probe(side, role="candidate", **start) as candidate:
            result = numerics.run_numerics(self._baseline, candidate, config, 0, lambda _: None)
        if result.verdict is not CheckVerdict.PASS:
            raise SystemExit(f"adamp fails its own check {config.name}")

    def catches(self, mutant: str) -> bool:
        """In a fork; a mutant that hangs or crashes is caught."""
        if (pid := os.fork()) == 0:
            signal.alarm(LIMIT_S)
            os.environ["MUTANT_UNDER_TEST"] = mutant
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            os._exit(self._run())
        return os.waitpid(pid, 0)[1] != 0

    def _run(self) -> int:
        try:
            candidate: Any = Here(self._config, self._folder)
            if self._first_look(candidate):
                return 1
            result = numerics.run_numerics(self._baseline, candidate, self._config, 0, lambda _: None)
        except BaseException:  # noqa: BLE001 — what a mutant raises gives it away
            return 1
        return int(result.verdict is not CheckVerdict.PASS)

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


def survivors_of(mutants: list[str], checks: dict[str, Alone]) -> list[str]:
    """Names of those that the check does not catch: AdamP's, or SGDP's for code that only it runs."""
    known = earlier_verdicts()
    left = [mutant for mutant in mutants if known.get(mutant) == "survived"]
    for n, mutant in enumerate(mutants):
        if mutant in known:
            continue
        key = "sgdp" if re.search("sgd|momentum", mutant.lower()) else "adamp"
        is_caught = checks[key + ONE_PATH.get(mutant.split(".")[1], "")].catches(mutant)
        if not is_caught:
            left.append(mutant)
        print(f"{n + 1}/{len(mutants)} {mutant} {'caught' if is_caught else 'survived'}", flush=True)  # noqa: T201
    return left


def earlier_verdicts() -> dict[str, str]:
    """Mutants and verdicts of the logs that the command line names."""
    logs = (Path(word) for word in sys.argv[1:] if word not in FILES)
    lines = (line.split() for log in logs for line in log.read_text().splitlines())
    return {words[1]: words[2] for words in lines if len(words) == 3}


def write(names: dict[str, list[str]], not_run: dict[str, int], survivors: list[dict[str, Any]]) -> None:
    """The data and the page; the mutants that are equivalent by their text alone were not run."""
    document = {
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {
            "mutmut": importlib.metadata.version("mutmut"),
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "n_mutants": {file: len(mutants) for file, mutants in names.items()},
        "not_run": not_run,
        "survivors": survivors,
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
