"""Verdicts of an earlier run that still hold: of functions whose source is what it was then."""

import ast
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class Earlier:
    """What docs/mutation.json says, and of which functions it still speaks."""

    def __init__(self, document: dict[str, Any], folder: Path) -> None:
        self.commit: str = document["commit"]
        self._folder = folder
        self._survivors = {(s["function"], tuple(s["change"])) for s in document["survivors"]}
        self._not_run = set(document["not_run"])
        self._files = set(document["files"])
        self._sources: dict[str, dict[str, str]] = {}

    def is_alive(self, function: str, change: list[str]) -> bool | None:
        """Whether that mutant survived; None where the earlier run cannot tell."""
        if function in self._not_run or not self._is_unchanged(function):
            return None
        return (function, tuple(change)) in self._survivors

    def _is_unchanged(self, function: str) -> bool:
        file = function.split(".")[1] + ".py"
        if file not in self._files:
            return False
        if file not in self._sources:
            now = functions_of((self._folder / "adamp" / file).read_text())
            show = ["git", "show", f"{self.commit}:adamp/{file}"]
            then = functions_of(subprocess.run(show, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
            self._sources[file] = {name: source for name, source in now.items() if then.get(name) == source}
        return function.split(".", 2)[2] in self._sources[file]


def functions_of(source: str) -> dict[str, str]:
    """Source by name, methods as `Class.method`."""
    found = {}
    for node in ast.parse(source).body:
        for inner in node.body if isinstance(node, ast.ClassDef) else [node]:
            if isinstance(inner, ast.FunctionDef):
                name = f"{node.name}.{inner.name}" if isinstance(node, ast.ClassDef) else inner.name
                found[name] = ast.unparse(without_docstring(inner))
    return found


def without_docstring(function: ast.FunctionDef) -> ast.FunctionDef:
    """Mutants leave docstrings alone."""
    first = function.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and len(function.body) > 1:
        function.body = function.body[1:]
    return function
