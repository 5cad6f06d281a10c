"""Reports and progress as text for a terminal: interval strips, bars, tables. Reads the API's JSON only."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from service.output.heading import history

STRIP_WIDTH = 37
NARROW = 96
"""Columns below which tables are drawn more tightly."""


def number(value: float | None) -> str:
    """4 significant digits, or a dash where there is no number."""
    return "–" if value is None else f"{value:.4g}"


def percent(value: float | None, digits: int = 3) -> str:
    """A relative change with its sign, such as "-11.5 %"."""
    if value is None:
        return "–"
    change = 100 * value
    text = f"{change:+.{digits}g}" if abs(change) < 10.0**digits else f"{change:+,.0f}"
    return f"{text} %".replace("-", "−")


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
        cells[low], cells[high], cells[place(mean)] = "┣", "┫", "●"
        if interval["lower"] < -scale:
            cells[0] = "◄"
        if interval["upper"] > scale:
            cells[-1] = "►"
    return Text("".join(cells), style=verdict_style(comparison))


def verdict_style(comparison: Mapping[str, Any]) -> str:
    """Colour of a verdict; the words stand beside it."""
    kind = str(comparison["verdict"]["kind"])
    if kind.startswith("better"):
        return "bold green"
    return "bold red" if kind.startswith("worse") else "yellow"


def verdict_table(reports: Sequence[Mapping[str, Any]], width: int) -> RenderableType:
    """All comparisons of some reports on one axis, with the verdict's words.

    Args:
        reports: With a line of its own for each workload where there are several.
        width: Columns of the terminal; where they are few, the numbers stand below the words.
    """
    scale, is_narrow = strip_scale(reports), width < NARROW
    strip_width = max(15, min(STRIP_WIDTH, width - (50 if is_narrow else 72)))
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True, padding=(0, 1))
    table.add_column("challenger\n← baseline", overflow="fold", vertical="bottom")
    table.add_column(_axis(scale, strip_width), no_wrap=True)
    if not is_narrow:
        table.add_column("test loss, 95 % interval", no_wrap=True)
    table.add_column("verdict", min_width=21)
    for report in reports:
        if len(reports) > 1:
            table.add_row(Text(report["workload"], style="bold"))
        for comparison in report["comparisons"]:
            table.add_row(*_verdict_row(report, comparison, scale, strip_width, is_narrow=is_narrow))
    margin = reports[0]["margin"] if reports else 0.05
    legend = f"● effect   ┣━┫ 95 % interval   ░ margin of ±{100 * margin:.2g} % (log)   │ no difference"
    return Group(table, Text(legend, style="dim"))


def _axis(scale: float, width: int) -> str:
    """What the two ends of a strip mean."""
    ends = [percent(math.expm1(-scale), 2), percent(math.expm1(scale), 2)]
    if width >= 28:
        ends = [f"{ends[0]} better", f"{ends[1]} worse"]
    return ends[0] + ends[1].rjust(width - len(ends[0]))


def _verdict_row(
    report: Mapping[str, Any], comparison: Mapping[str, Any], scale: float, width: int, *, is_narrow: bool
) -> list[RenderableType]:
    effect = comparison["effect"]
    interval = effect["relative_interval_95"]
    size = percent(effect["relative_change"], 2)
    if interval:
        size += f" ({percent(interval['lower'], 2).removesuffix(' %')} to {percent(interval['upper'], 2)})"
    words = Text(comparison["verdict"]["words"], style=verdict_style(comparison))
    return [
        f"{comparison['challenger']} ← {comparison['baseline']}",
        interval_strip(comparison, report["margin"], scale, width),
        *([Group(words, Text(size))] if is_narrow else [size, words]),
    ]


def mechanism_table(reports: Sequence[Mapping[str, Any]]) -> RenderableType:
    """What each optimizer did to the scale-invariant weights: medians over confirm runs and layers."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in ("workload", "arm"):
        table.add_column(column)
    for column in ("steps\nprojected", "weight norm,\nend ÷ start", "effective lr lr/|w|²,\nend ÷ start"):
        table.add_column(column, justify="right")
    for report in reports:
        for i, arm in enumerate(report["mechanism"]["arms"]):
            rate, growth, ratio = arm["projection_rate"], arm["norm_growth"], arm["effective_lr_ratio"]
            table.add_row(
                "" if i else report["workload"],
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
            f"{rate['count']} of {rate['n']}" if rate else "–",
            human_time(arm["cpu_s"]),
        )
    return table


def sentences(report: Mapping[str, Any]) -> list[str]:
    """The verdict sentences, the notes, then how the study came about."""
    verdicts = [c["verdict"]["sentence"] for c in report["comparisons"]]
    return verdicts + list(dict.fromkeys([*report["notes"], *history(report)]))


def report_view(report: Mapping[str, Any], width: int) -> RenderableType:
    """A whole report: strips, arms, mechanism, sentences, lines to paste."""
    head = f"{report['study']} · {report['workload']} · {report['metric']} · spec {report['spec_hash'][:12]}"
    parts: list[RenderableType] = [Text(head, style="bold"), verdict_table([report], width), arms_table(report)]
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
    table = Table(
        box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True
    )  # a name of 40 characters fits into 120 columns
    for column in ("id", "name", "workload", "state", "finished", "running", "waiting", "failed", "cancelled"):
        table.add_column(column)
    for row in rows:
        counts = row["counts"]
        done, n_failed = counts["n_complete"] + counts["n_pruned"], counts["n_fail"] - counts["n_cancelled"]
        listed = (done, counts["n_running"], counts["n_waiting"], n_failed, counts["n_cancelled"])
        numbers = [str(x) for x in listed]
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


def checks_table(rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Uploaded checks by a line each."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in ("id", "name", "verdict", "candidate", "baseline", "made"):
        table.add_column(column)
    styles = {"PASS": "green", "FAIL": "bold red", "SKIPPED": "dim"}
    for row in rows:
        verdict = Text(row["verdict"], style=styles.get(row["verdict"], "yellow"))
        made = str(row["created_at"])[:16].replace("T", " ")
        table.add_row(str(row["id"]), row["name"], verdict, row["candidate"], row["baseline"], made)
    return table


def planned_runs(spec: Mapping[str, Any]) -> dict[str, int]:
    """Trainings of one arm by phase, over all replicates."""
    replicates = spec["replicates"]
    return {
        "search": replicates * spec["search"]["trials"],
        "select": replicates * spec["select"]["top"] * spec["select"]["seeds"],
        "confirm": replicates * spec["confirm"]["seeds"],
    }


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
    where = "in earlier studies of this workload" if cost["spread"]["n_pairs"] else "on scikit-learn's digits"
    lines.append(f"  (if replicates differ by {100 * cost['assumed_sd']:.0f} %, as they did {where})")
    return "\n".join(lines + [f"  note: {warning}" for warning in validation["warnings"]])


def _on_slots(cost: Mapping[str, Any]) -> str:
    if cost["wall_s"] is None:
        return ""
    return f", {human_time(cost['wall_s'])} on the {cost['n_slots']} slots that are there"
