"""Run the toy problems and draw them: `python -m tests.paper.make` writes docs/paper.md and docs/paper/."""

import json
from datetime import UTC, datetime
from typing import Any

import torch

import adamp
from tests.paper import figures, page, toys
from tests.paper.toys import PLANE, SPHERE, Run

N_POINTS = 160  # kept of each curve; the early steps, which are the long ones, all


def main() -> None:
    """Write data, figures and page."""
    torch.set_num_threads(1)
    document = {
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {"tangent-adamp": adamp.__version__, "torch": torch.__version__},
        "plane": plane_figures(toys.run_plane()),
        "sphere": sphere_figures(toys.run_sphere()),
    }
    page.DATA.parent.mkdir(exist_ok=True)
    page.DATA.write_text(json.dumps(document) + "\n")
    document = json.loads(page.DATA.read_text())
    page.PLANE_SVG.write_text(figures.draw_plane(document["plane"]))
    page.SPHERE_SVG.write_text(figures.draw_sphere(document["sphere"]))
    page.PAGE.write_text(page.render(document))


def plane_figures(runs: dict[str, dict[str, Run]]) -> dict[str, Any]:
    """Curves and ends of the first toy."""
    return {
        "settings": PLANE,
        "end": {
            "norms": {m: {name: rounded(run.norms[-1]) for name, run in rs.items()} for m, rs in runs.items()},
            "steps_to_90_percent": {m: {name: arrival(run) for name, run in rs.items()} for m, rs in runs.items()},
        },
        "runs": {m: {name: thinned(run) for name, run in rs.items()} for m, rs in runs.items()},
    }


def sphere_figures(runs: dict[str, Run]) -> dict[str, Any]:
    """Curves and ends of the second."""
    ends = {
        name: {
            "loss_at_100": rounded(run.losses[100]),
            "loss": rounded(run.losses[-1]),
            "highest_norm": rounded(max(run.norms)),
            "norm": rounded(run.norms[-1]),
        }
        for name, run in runs.items()
    }
    return {"settings": SPHERE, "end": ends, "runs": {name: thinned(run) for name, run in runs.items()}}


def arrival(run: Run) -> int | str:
    """First step with cos above 0.9."""
    return next((t for t, loss in enumerate(run.losses) if loss < -0.9), "–")


def thinned(run: Run) -> dict[str, Any]:
    """At most about N_POINTS of each curve, rounded."""
    n = len(run.losses)
    steps = sorted({*range(min(60, n)), *range(0, n, max(1, n // (N_POINTS - 60))), n - 1})
    return {
        "steps": steps,
        "losses": [rounded(run.losses[t]) for t in steps],
        "norms": [rounded(run.norms[t]) for t in steps],
        "points": [[rounded(x) for x in run.points[t]] for t in steps],
    }


def rounded(value: float) -> float:
    """Five digits."""
    return float(f"{value:.5g}")


if __name__ == "__main__":
    main()
