"""Write docs/mutation.json and .md from mutmut's results: `python -m tests.mutation.make FOLDER ...`.

Each FOLDER is a copy of adamp/ and its tests in which mutmut has run, in plain torch or with the native step; a
mutant killed in one of them is killed. mutmut must be importable, and is no dependency of the tests.
"""

import importlib.metadata
import json
import os
import platform
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from tests.mutation import page
from tests.mutation.reasons import NOT_RUN, reason_of

NO_TESTS = 33  # mutmut's code
HOW = (
    "The tests of `tests/unit/adamp` ran, but for the slow ones (growth ratios, 100 steps, millions of elements), "
    "the figures and the Triton kernels. Mutants of the code that calls the native step ran with the native step, "
    "all others in plain torch (`ADAMP_PATH=torch`), for which the repository's tests must therefore run too. "
    "The code was that of commit a3b6a11; later changes to it were not mutated. Survivors were judged equivalent by "
    "the rules in `tests/mutation/reasons.py`, by reading and without proof."
)


def main() -> None:
    """Read, judge, write."""
    codes: dict[str, list[int | None]] = {}
    for folder in sys.argv[1:]:
        for path in sorted(Path(folder, "mutants", "adamp").glob("*.meta")):
            for name, code in json.loads(path.read_text())["exit_code_by_key"].items():
                codes.setdefault(name, []).append(code)
    done = {name: [c for c in all_of_it if c is not None] for name, all_of_it in codes.items()}
    survivors = [name for name, all_of_it in done.items() if all_of_it and set(all_of_it) <= {0, NO_TESTS}]
    os.chdir(sys.argv[1])
    n_run = sum(bool(all_of_it) for all_of_it in done.values())
    document = {
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {
            "mutmut": importlib.metadata.version("mutmut"),
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "files": sorted({name.split(".")[1] + ".py" for name in codes}),
        "n_mutants": n_run,
        "not_run": Counter(function_of(name) for name, all_of_it in done.items() if not all_of_it),
        "n_killed": n_run - len(survivors),
        "how": HOW,
        "survivors": [describe(name, has_tests=0 in done[name]) for name in survivors],
    }
    page.DATA.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    page.PAGE.write_text(page.render(document))


def describe(name: str, *, has_tests: bool) -> dict[str, Any]:
    """The function, the lines before and after, and why it survives."""
    from mutmut.mutation.diff_apply import get_diff_for_mutant

    diff = get_diff_for_mutant(name).splitlines()
    change = [line.strip() for line in diff if line[:1] in "+-" and not line.startswith(("+++", "---"))]
    change = [f"{line[0]} {line[1:].strip()}" for line in change]
    function = function_of(name)
    reason = reason_of(function, change) if has_tests else NOT_RUN
    is_equivalent = reason.startswith("Equivalent")
    return {"function": function, "change": change, "reason": reason, "is_equivalent": is_equivalent}


def function_of(name: str) -> str:
    """Module, class and function, without mutmut's decoration."""
    return name.rsplit("__mutmut", 1)[0].replace("xǁ", "").replace("ǁ", ".").replace(".x_", ".")


if __name__ == "__main__":
    main()
