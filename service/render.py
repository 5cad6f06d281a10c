"""Reports and progress as text for a terminal: interval strips, bars, tables. Reads the API's JSON only."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

STRIP_WIDTH = 37
_PHASES = ("search", "select", "confirm")
_BAR_WIDTH = 10


def number(value: float | None) -> str:
    """4 significant digits, or a dash where there is no number."""
    return "–" if value is None else f"{value:.4g}"


def percent(value: float | None) -> str:
    """A relative change with its sign, such as "-11.5 %"."""
    if value is None:
        return "–"
    return f"{100 * value:+.3g} %".replace("-", "−")


def human_time(seconds: float | None) -> str:
    """Seconds as a person says them: "48 s", "3 min 10 s", "2 h 5 min"."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    total = round(seconds)
    if total < 60:
        return f"{total} s"
    if total < 3600:
        return f"{total // 60} min {total % 60} s"
    return f"{total // 3600} h {total % 3600 // 60} min"


def strip_scale(reports: Iterable[Mapping[str, Any]]) -> float:
    """Half-width of a common axis (log scale) on which every interval and margin of these reports fits."""
    ends = [0.1]
    for report in reports:
        ends.append(1.5 * report["margin"])
        for comparison in report["comparisons"]:
            interval = comparison["effect"]["interval_95"]
            if interval and interval["lower"] is not None and interval["upper"] is not None:
                ends += [abs(interval["lower"]), abs(interval["upper"])]
    return min(max(ends) * 1.05, 2.0)


def interval_strip(comparison: Mapping[str, Any], margin: float, scale: float, width: int = STRIP_WIDTH) -> Text:
    """One comparison on the log axis from -scale to scale: margin band shaded, zero marked, interval and effect."""
    cells = [" "] * width

    def place(x: float) -> int:
        return min(width - 1, max(0, round((x + scale) / (2 * scale) * (width - 1))))

    for i in range(place(-margin), place(margin) + 1):
        cells[i] = "░"
    cells[place(0.0)] = "│"
    interval, mean = comparison["effect"]["interval_95"], comparison["effect"]["mean"]
    if interval and mean is not None and interval["lower"] is not None:
        low, high = place(interval["lower"]), place(interval["upper"])
        for i in range(low, high + 1):
            cells[i] = "━"
        cells[low] = "◄" if interval["lower"] < -scale else "┣"
        cells[high] = "►" if interval["upper"] > scale else "┫"
        cells[place(mean)] = "●"
    return Text("".join(cells), style=verdict_style(comparison))


def verdict_style(comparison: Mapping[str, Any]) -> str:
    """Colour of a verdict; the words stand beside it."""
    kind = str(comparison["verdict"]["kind"])
    if kind.startswith("better"):
        return "bold green"
    return "bold red" if kind.startswith("worse") else "yellow"


def verdict_table(reports: Sequence[Mapping[str, Any]]) -> RenderableType:
    """All comparisons of some reports on one axis, with the verdict's words."""
    scale = strip_scale(reports)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    ends = f"{percent(math.expm1(-scale))} better"
    worse = f"{percent(math.expm1(scale))} worse"
    header = ends + worse.rjust(STRIP_WIDTH - len(ends))
    for column in ("workload", "challenger ← baseline", header, "test loss, 95 % interval", "verdict"):
        is_verdict = column == "verdict"
        table.add_column(column, no_wrap=not is_verdict, min_width=18 if is_verdict else None)
    for report in reports:
        for comparison in report["comparisons"]:
            table.add_row(*_verdict_row(report, comparison, scale))
    margin = reports[0]["margin"] if reports else 0.05
    legend = f"● effect   ┣━┫ 95 % interval   ░ margin of ±{100 * margin:.2g} % (log)   │ no difference"
    return Group(table, Text(legend, style="dim"))


def _verdict_row(report: Mapping[str, Any], comparison: Mapping[str, Any], scale: float) -> list[RenderableType]:
    effect = comparison["effect"]
    interval = effect["relative_interval_95"]
    size = percent(effect["relative_change"])
    if interval:
        size += f"  ({percent(interval['lower'])} to {percent(interval['upper'])})"
    return [
        report["workload"],
        f"{comparison['challenger']} ← {comparison['baseline']}",
        interval_strip(comparison, report["margin"], scale),
        size,
        Text(comparison["verdict"]["words"], style=verdict_style(comparison)),
    ]


def mechanism_table(reports: Sequence[Mapping[str, Any]]) -> RenderableType:
    """What each optimizer did to the scale-invariant weights: medians over confirm runs and layers."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in ("workload", "arm"):
        table.add_column(column)
    for column in ("steps projected", "weight norm, end ÷ start", "effective lr lr/|w|², end ÷ start"):
        table.add_column(column, justify="right")
    for report in reports:
        for arm in report["mechanism"]["arms"]:
            rate, growth = arm["projection_rate"], arm["norm_growth"]
            ratio = arm["effective_lr_ratio"]
            table.add_row(
                report["workload"],
                arm["arm"],
                "no projection" if rate is None else f"{100 * rate:.3g} %",
                "–" if growth is None else f"× {growth:.3g}",
                "–" if ratio is None else f"× {ratio:.3g}",
            )
    return table


def arms_table(report: Mapping[str, Any]) -> RenderableType:
    """Each arm's confirmed endpoint, accuracy, divergence and cost."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in ("arm", "optimizer", report["metric"], "95 % interval", "test accuracy", "diverged", "CPU time"):
        table.add_column(column)
    for arm in report["arms"]:
        interval = arm["endpoint_interval_95"]
        accuracy, rate = arm["test_accuracy"], arm["search_divergence"]
        table.add_row(
            arm["name"],
            arm["optimizer"],
            number(arm["endpoint"]),
            f"{number(interval['lower'])} to {number(interval['upper'])}" if interval else "–",
            "–" if accuracy is None else f"{100 * accuracy:.2f} %",
            f"{rate['n_events']} of {rate['n']}" if rate else "–",
            human_time(arm["cpu_s"]),
        )
    return table


def sentences(report: Mapping[str, Any]) -> list[str]:
    """The verdict sentences, then the notes."""
    return [c["verdict"]["sentence"] for c in report["comparisons"]] + list(report["notes"])


def bar(done: int, total: int, running: int, failed: int) -> Text:
    """A bar with its count; running trials are lighter, failed ones are named."""
    full = min(_BAR_WIDTH, round(_BAR_WIDTH * done / total)) if total else 0
    busy = min(_BAR_WIDTH - full, max(1, round(_BAR_WIDTH * running / total))) if running and total else 0
    text = Text("█" * full, style="green") + Text("▒" * busy, style="cyan")
    text += Text("·" * (_BAR_WIDTH - full - busy), style="dim")
    text += Text(f" {done}/{total}")
    return text + Text(f" {failed} failed", style="red") if failed else text


def progress_table(study: Mapping[str, Any], eta_s: float | None) -> RenderableType:
    """A study while it runs: a bar for each arm and phase, the best value so far, what is left."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, title_justify="left", title_style="bold")
    left = f", about {human_time(eta_s)} left" if eta_s is not None and study["state"] == "RUNNING" else ""
    table.title = f"study {study['id']} · {study['name']} · {study['state'].lower()}{left}"
    for column in ("arm", *_PHASES, "best validation loss"):
        table.add_column(column, no_wrap=True)
    planned = planned_runs(study["spec"])
    rows = {(row["arm"], row["phase"]): row for row in study["progress"]}
    for arm in study["spec"]["arms"]:
        cells = [_phase_bar(rows.get((arm["name"], phase)), planned[phase]) for phase in _PHASES]
        values = [rows[key]["best"] for key in rows if key[0] == arm["name"] and rows[key]["best"] is not None]
        table.add_row(arm["name"], *cells, number(min(values)) if values else "–")
    return table


def planned_runs(spec: Mapping[str, Any]) -> dict[str, int]:
    """Trainings of one arm by phase, over all replicates."""
    replicates = spec["replicates"]
    return {
        "search": replicates * spec["search"]["trials"],
        "select": replicates * spec["select"]["top"] * spec["select"]["seeds"],
        "confirm": replicates * spec["confirm"]["seeds"],
    }


def _phase_bar(row: Mapping[str, Any] | None, total: int) -> Text:
    if row is None:
        return bar(0, total, 0, 0)
    return bar(row["n_counted"], total, row["n_running"], row["n_failed"])


def report_view(report: Mapping[str, Any]) -> RenderableType:
    """A whole report: strips, arms, mechanism, sentences, lines to paste."""
    head = f"{report['study']} · {report['workload']} · {report['metric']} · spec {report['spec_hash'][:12]}"
    parts: list[RenderableType] = [Text(head, style="bold"), verdict_table([report]), arms_table(report)]
    if report["mechanism"]["arms"]:
        parts += [
            Text("What the optimizers did to the scale-invariant weights", style="bold"),
            mechanism_table([report]),
        ]
    parts += [Text(f"· {sentence}") for sentence in sentences(report)]
    return Group(*parts)


def studies_table(rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Studies by a line each; says how to begin where there is none."""
    if not rows:
        return Text("No studies yet. Write a study file with: tangent init")
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in ("id", "name", "workload", "state", "finished", "running", "waiting", "failed"):
        table.add_column(column)
    for row in rows:
        counts = row["counts"]
        done = counts["n_complete"] + counts["n_pruned"]
        numbers = [str(x) for x in (done, counts["n_running"], counts["n_waiting"], counts["n_fail"])]
        table.add_row(str(row["id"]), row["name"], row["workload"], row["state"].lower(), *numbers)
    return table


def workers_table(rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Workers by a line each."""
    online = [row for row in rows if row["state"] != "offline"]
    if not online:
        return Text("No workers are online.")
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in ("worker", "state", "queues", "devices", "slots", "heartbeat", "runs"):
        table.add_column(column)
    for row in online:
        running = ", ".join(f"study {t['study']} trial {t['trial']}" for t in row["trials"]) or "–"
        table.add_row(
            f"{row['hostname']}:{row['pid']}",
            row["state"],
            ", ".join(row["queues"]),
            ", ".join(row["devices"]),
            str(row["n_slots"]),
            f"{human_time(row['heartbeat_age_s'])} ago",
            running,
        )
    return table


def cost_text(validation: Mapping[str, Any]) -> str:
    """What a study would take and what it could show, before it runs."""
    cost, spec = validation["cost"], validation["spec"]
    runs = planned_runs({**spec, "replicates": 1})
    plan = f"{runs['search']} search + {runs['select']} select + {runs['confirm']} confirm"
    lines = [
        f"{validation['name']} can run; nothing was submitted (spec {validation['spec_hash'][:12]})",
        f"  {len(spec['arms'])} arms x {spec['replicates']} replicates x ({plan}) = {cost['n_trainings']:,} trainings",
        f"  about {human_time(cost['device_s'])} of one slot{_on_slots(cost)}",
    ]
    lines += [
        f"  finds a change of {abs(100 * entry['change']):.0f} % with probability {entry['power']:.2f}"
        for entry in cost["power"]
    ]
    lines.append(f"  (if replicates differ by {100 * cost['assumed_sd']:.0f} %, as they did on scikit-learn's digits)")
    return "\n".join(lines + [f"  note: {warning}" for warning in validation["warnings"]])


def _on_slots(cost: Mapping[str, Any]) -> str:
    if cost["wall_s"] is None:
        return ""
    return f", {human_time(cost['wall_s'])} on the {cost['n_slots']} slots that are there"
