"""The two figures, from the JSON that `make` writes."""

import math
from typing import Any

from tests.paper.svg import COLOURS, Curve, Mark, Panel, draw

GREY, ORANGE, BLUE, GREEN = COLOURS
COLOUR_OF = {"GD": GREY, "momentum": ORANGE, "momentum, weight decay": BLUE, "SGDP": GREEN}


def draw_plane(plane: dict[str, Any]) -> str:
    """For each momentum the paths of w in the plane, above the growth of |w|."""
    paths, norms = [], []
    for momentum, runs in plane["runs"].items():
        across, along = plane_window(runs)
        circle = [(math.cos(k / 32 * math.pi), math.sin(k / 32 * math.pi)) for k in range(65)]
        curves = [Curve("", "#bbbbbb", circle, is_thin=True)]
        curves += [Curve(name, COLOUR_OF[name], run["points"]) for name, run in runs.items()]
        title = f"momentum {momentum}: w in the plane"
        paths.append(Panel(title, "along w*", "across w*", along, across, curves))
        highest = 1.3 * max(plane["end"]["norms"][m]["momentum"] for m in plane["runs"])
        growth = [Curve(name, COLOUR_OF[name], _over_steps(run, "norms")) for name, run in runs.items()]
        steps = (0, plane["settings"]["n_steps"])
        norms.append(Panel(f"momentum {momentum}: |w|", "step", "|w|", steps, (0.9, highest), growth, is_log_y=True))
    return draw([paths, norms], [(name, COLOUR_OF[name]) for name in ("GD", "momentum", "SGDP")])


def plane_window(runs: dict[str, Any]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Ranges of y and x that hold every path and draw circles round in a panel of 230 by 174."""
    reach = 1.08 * max(point[0] for run in runs.values() for point in run["points"])
    low = -max(1.3, 0.08 * reach)
    return (low, low + (reach - low) * 174 / 230), (low, reach)


def draw_sphere(sphere: dict[str, Any]) -> str:
    """The paths of the two angles, the loss, and |w|."""
    runs, steps = sphere["runs"], (0, sphere["settings"]["n_steps"])
    valley = Curve("", "#999999", [(k / 50 - 1.3, (k / 50 - 1.3) ** 2) for k in range(126)], is_thin=True)
    start = sphere["settings"]["start"]
    curves = {
        key: [Curve(name, COLOUR_OF[name], _over_steps(run, key)) for name, run in runs.items()]
        for key in ("losses", "norms")
    }
    paths = [valley, *(Curve(name, COLOUR_OF[name], run["points"]) for name, run in runs.items())]
    ends = [Mark("", *run["points"][-1], COLOUR_OF[name]) for name, run in runs.items()]
    marks = [Mark("start", *start), Mark("minimum", 1.0, 1.0), *ends]
    panels = [
        Panel("angles; dots: the ends", "longitude", "latitude", (-1.6, 1.6), (-0.5, 1.7), paths, marks=marks),
        Panel("loss", "step", "loss", steps, (1e-4, 100), curves["losses"], is_log_y=True),
        Panel("|w|", "step", "|w|", steps, (0.9, 6), curves["norms"], is_log_y=True),
    ]
    return draw([panels], [(name, COLOUR_OF[name]) for name in runs])


def _over_steps(run: dict[str, Any], key: str) -> list[tuple[float, float]]:
    return list(zip(run["steps"], run[key], strict=True))
