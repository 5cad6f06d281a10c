"""Write docs/mutation.json and .md from mutmut's results: `python -m tests.mutation.make FOLDER ...`.

Each FOLDER is one in which `tests.mutation.run` has run, in plain torch or with the native step; a mutant killed in one
of them is killed. mutmut must be importable, and is no dependency of the tests.
"""

import functools
import importlib.metadata
import json
import platform
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from tests.mutation import page
from tests.mutation.changes import change_of
from tests.mutation.earlier import Earlier
from tests.mutation.reasons import reason_of

NO_TESTS = 33  # mutmut's code
HOW = (
    "`tests/mutation/run.py` says which tests of `tests/unit/adamp` ran: not the slow ones, and none that start "
    "processes of their own. Mutants ran in plain torch (`ADAMP_PATH=torch`), those of the code that calls the native "
    "step with the native step, of them `repetition.py` and parts of `base.py` with the tests of repeated steps alone. "
    "`native.py`, `layouts.py`, `dispatch.py`, `hooks.py`, `building.py` and `triton_*.py` "
    "were not mutated. A mutant that runs out of time or crashes is killed. Survivors were judged equivalent by the "
    "rules in `tests/mutation/reasons.py`, by reading and without proof."
)


def main() -> None:
    """Read, judge, write."""
    folders = [Path(folder).resolve() for folder in sys.argv[1:]]
    earlier = Earlier(json.loads(page.DATA.read_text()), folders[0])
    codes, home = read_codes(folders)
    changes = {name: change_of(name, source_of(name.split(".")[1], folder)) for name, folder in home.items()}
    kept = {name: earlier.is_alive(function_of(name), changes[name]) for name in codes}
    verdicts = {name: is_alive(codes[name], kept[name]) for name in codes}
    survivors = [name for name, alive in verdicts.items() if alive]
    document = {
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {
            "mutmut": importlib.metadata.version("mutmut"),
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "commit": (folders[0] / "commit").read_text(),
        "earlier": {"commit": earlier.commit, "n_mutants": sum(decides(kept[name], codes[name]) for name in codes)},
        "files": sorted({name.split(".")[1] + ".py" for name in codes}),
        "n_mutants": sum(alive is not None for alive in verdicts.values()),
        "not_run": Counter(function_of(name) for name, alive in verdicts.items() if alive is None),
        "n_killed": sum(alive is False for alive in verdicts.values()),
        "how": HOW,
        "survivors": [describe(function_of(name), changes[name]) for name in survivors],
    }
    page.DATA.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    page.PAGE.write_text(page.render(document))


def read_codes(folders: list[Path]) -> tuple[dict[str, list[int]], dict[str, Path]]:
    """mutmut's exit codes by mutant, those of all runs; and a folder where the mutant lies."""
    codes: dict[str, list[int]] = {}
    home: dict[str, Path] = {}
    for folder in folders:
        for path in sorted((folder / "mutants" / "adamp").glob("*.meta")):
            for name, code in json.loads(path.read_text())["exit_code_by_key"].items():
                codes.setdefault(name, []).extend([] if code is None else [code])
                home.setdefault(name, folder)
    return codes, home


@functools.cache
def source_of(file: str, folder: Path) -> str:
    """A module with all its mutants."""
    return (folder / "mutants" / "adamp" / f"{file}.py").read_text()


def is_alive(codes: list[int], kept: bool | None) -> bool | None:
    """Killed in any run is killed; None where the mutant never ran."""
    if kept is False or set(codes) - {0, NO_TESTS}:
        return False
    return True if codes or kept else None


def decides(kept: bool | None, codes: list[int]) -> bool:
    """Whether the verdict is the earlier run's."""
    return is_alive(codes, None) is not False and kept is not None and (kept is False or not codes)


def describe(function: str, change: list[str]) -> dict[str, Any]:
    """A survivor, and why it survives."""
    reason = reason_of(function, change)
    return {
        "function": function,
        "change": change,
        "reason": reason,
        "is_equivalent": reason.startswith("Equivalent"),
    }


def function_of(name: str) -> str:
    """Module, class and function, without mutmut's decoration."""
    return name.rsplit("__mutmut", 1)[0].replace("xǁ", "").replace("ǁ", ".").replace(".x_", ".")


if __name__ == "__main__":
    main()
