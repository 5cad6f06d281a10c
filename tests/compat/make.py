"""Compare with the authors' package: `python -m tests.compat.make` writes docs/compat and the goldens.

Installs the authors' package 0.3.0 and pytorch_optimizer into a temporary folder, runs them and ours on the same
gradients in processes of their own, and keeps figures and short recorded trajectories. Needs a package index.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

import adamp
from tests.compat import figures, page
from tests.compat.jobs import (
    HYPER,
    SEEDS,
    Trajectory,
    make_halves,
    make_hyper,
    make_trajectory,
    make_unlike,
    probes,
)

ROOT = Path(__file__).resolve().parents[2]
GOLDENS = Path(__file__).parent / "golden"
PACKAGES = {"adamp": "0.3.0", "pytorch_optimizer": "4.1.0"}
GOLDEN_SHAPES = [(4, 3), (2, 2, 3), (5,)]
GOLDEN_CASES = ["AdamP, decay", "AdamP, nesterov, decay, ratio 0", "SGDP, nesterov", "SGDP, no momentum, dampening"]


class Implementations:
    """The three implementations, each asked in a fresh process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._homes = {"ours": ("adamp", ROOT), "ours_plain": ("adamp", ROOT)}
        for name, (package, version) in zip(("theirs", "pytorch_optimizer"), PACKAGES.items(), strict=True):
            self._homes[name] = (package, folder / name)
            self._install(f"{package}=={version}", folder / name)

    def run(self, name: str, jobs: dict[str, Any]) -> dict[str, Any]:
        """Results by job name."""
        package, home = self._homes[name]
        jobs_path, results_path = self._folder / "jobs.pt", self._folder / "results.pt"
        torch.save(jobs, jobs_path)
        runner = Path(__file__).with_name("runner.py")
        paths = [str(path) for path in (home, jobs_path, results_path)]
        # Warnings are the other packages' own (deprecations) and would hide what matters.
        command = [sys.executable, "-W", "ignore", str(runner), package, *paths]
        path = {"ADAMP_PATH": "torch" if name == "ours_plain" else ""}
        subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1", **path}, cwd=self._folder)
        results: dict[str, Any] = torch.load(results_path, weights_only=True)
        return results

    def _install(self, requirement: str, target: Path) -> None:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target)]
        subprocess.run([*pip, requirement], check=True)


def compare_trajectories(implementations: Implementations) -> list[dict[str, Any]]:
    """One row per hyperparameters and dtype."""
    sets: dict[tuple[str, torch.dtype], list[Trajectory]] = {
        (name, dtype): [make_trajectory(*make_hyper(name), dtype, seed) for seed in seeds]
        for dtype, seeds in SEEDS.items()
        for name in HYPER
    }
    jobs = {f"{name}|{dtype}|{i}": t.job for (name, dtype), ts in sets.items() for i, t in enumerate(ts)}
    results = {who: implementations.run(who, jobs) for who in page.COLUMNS}
    rows = []
    for (name, dtype), trajectories in sets.items():
        keys = [f"{name}|{dtype}|{i}" for i in range(len(trajectories))]
        taken = {who: [of_one[key] for key in keys] for who, of_one in results.items()}
        rows.append(figures.trajectory_row(name, str(dtype), trajectories, taken))
    return rows


def compare_aliasing(implementations: Implementations) -> dict[str, float]:
    """SGDP with momentum and without nesterov: both against the reference with and without the alias."""
    plain, aliased = make_unlike()
    weights = {who: implementations.run(who, {"job": plain.job})["job"]["weights"] for who in ("ours", "theirs")}
    return {
        f"{who}_to_{kind}": figures.relative_error(trajectory, weights[who])
        for who in ("ours", "theirs")
        for kind, trajectory in (("algorithm", plain), ("alias", aliased))
    }


def compare_checkpoints(implementations: Implementations) -> list[dict[str, Any]]:
    """Their first half; then the second half by each of the two from their checkpoint."""
    rows = []
    for name in ("AdamP, decay", "AdamP, nesterov, decay, ratio 0", "SGDP, nesterov", "SGDP, no momentum"):
        for dtype in (torch.float32, torch.float64):
            trajectory, first, second = make_halves(name, dtype)
            saved = implementations.run("theirs", {"job": first})["job"]
            job = {**second, "weights": saved["weights"], "state": saved["state"]}
            ends = {who: implementations.run(who, {"job": job})["job"] for who in ("ours", "theirs")}
            rows.append(figures.checkpoint_row(name, str(dtype), trajectory, ends))
    return rows


def compare_probes(implementations: Implementations) -> list[dict[str, str]]:
    """What each does with inputs that the authors' code does not take."""
    results = {who: implementations.run(who, probes()) for who in ("theirs", "ours", "pytorch_optimizer")}
    return [{"input": name, **{who: figures.outcome(results[who][name]) for who in results}} for name in probes()]


def write_goldens(implementations: Implementations) -> None:
    """Short float64 trajectories by the authors' package, with its checkpoint in the middle."""
    GOLDENS.mkdir(exist_ok=True)
    for i, name in enumerate(GOLDEN_CASES):
        trajectory, first, second = make_halves(name, torch.float64, shapes=GOLDEN_SHAPES, n_steps=8, seed=i)
        middle = implementations.run("theirs", {"job": first})["job"]
        end = implementations.run("theirs", {"job": {**second, "weights": middle["weights"], "state": middle["state"]}})
        golden = figures.golden(name, trajectory, middle, end["job"])
        file_name = name.lower().replace(", ", "-").replace(" ", "-") + ".json"
        (GOLDENS / file_name).write_text(json.dumps({"package": "adamp 0.3.0", **golden}) + "\n")


def main() -> None:
    """Write everything."""
    with tempfile.TemporaryDirectory() as folder:
        implementations = Implementations(Path(folder))
        document = {
            "date": datetime.now(UTC).date().isoformat(),
            "versions": {**PACKAGES, "tangent-adamp": adamp.__version__, **environment()},
            "trajectories": compare_trajectories(implementations),
            "aliasing": compare_aliasing(implementations),
            "checkpoints": compare_checkpoints(implementations),
            "probes": compare_probes(implementations),
        }
        write_goldens(implementations)
    page.DATA.parent.mkdir(parents=True, exist_ok=True)
    page.DATA.write_text(json.dumps(document, indent=1) + "\n")
    page.PAGE.write_text(page.render(document))


def environment() -> dict[str, str]:
    """What else the figures depend on."""
    return {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "path": adamp.paths()["cpu"],
    }


if __name__ == "__main__":
    main()
