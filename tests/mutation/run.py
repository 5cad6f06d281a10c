"""Mutate a copy of adamp and test each mutant: `python -m tests.mutation.run FOLDER torch|native [PATTERN ...]`.

FOLDER is made and kept, for `tests.mutation.make`. PATTERN is mutmut's, such as `adamp.checks*`; without one every
mutant of the path's files is tested. mutmut 3.8 must be importable, and is no dependency of the tests.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHARED = ("adam", "base", "checkpoints", "checks", "diagnostics", "eager", "functional", "projection", "sgd")
FILES = {"torch": SHARED, "native": ("adam", "base", "sgd", "repetition")}
"""Plain torch and what all paths share; and what calls the native step. Not mutated: building, triton_*."""

# Slow, or about files and processes rather than about the code in this process.
LEFT_OUT = ("accuracy", "distributed.", "benchmark_page", "building", "package", "readme", "compile", "memory")
OTHER_PATHS = ("native", "triton")
SLOW = "not 100 and not millions and not growth and not several_processes and not failing_compiler"

CONFIGURATION = """
[tool.pytest.ini_options]
pythonpath = ["."]
addopts = "--strict-markers --import-mode=importlib -p no:cacheprovider"
filterwarnings = ["error"]
markers = ["gpu: needs a CUDA device"]

[tool.mutmut]
source_paths = ["adamp"]
only_mutate = {only_mutate}
also_copy = ["adamp", "tests"]
process_isolation = "{isolation}"
timeout_constant = 20.0
pytest_add_cli_args = ["-k", "{slow}"]
pytest_add_cli_args_test_selection = {tests}
"""


def prepare(folder: Path, path: str) -> None:
    """The sources, their tests, and what mutmut is to do with them."""
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
    for part in ("adamp", "tests/unit/adamp", "tests/reference"):
        shutil.copytree(ROOT / part, folder / part, ignore=ignored)
    tests = sorted(
        str(test.relative_to(folder))
        for test in (folder / "tests/unit/adamp").glob("test_*.py")
        if not any(word in test.name for word in (*LEFT_OUT, *(OTHER_PATHS if path == "torch" else ())))
    )
    files = [f"adamp/{name}.py" for name in FILES[path]]
    # Forking the process that has run the tests is quicker, but not where it has started threads.
    isolation = "fork" if path == "torch" else "forkserver"
    text = CONFIGURATION.format(only_mutate=files, tests=tests, slow=SLOW, isolation=isolation)
    (folder / "pyproject.toml").write_text(text.replace("'", '"'))
    git = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    (folder / "commit").write_text(commit)


def main() -> None:
    """Prepare and run."""
    folder, path, *patterns = Path(sys.argv[1]), sys.argv[2], *sys.argv[3:]
    prepare(folder, path)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ADAMP_PATH": "torch" if path == "torch" else ""}
    command = [sys.executable, "-m", "mutmut", "run", "--max-children", "1", *patterns]
    subprocess.run(command, cwd=folder, env=environment, check=False)


if __name__ == "__main__":
    main()
