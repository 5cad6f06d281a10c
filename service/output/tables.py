"""A report's tables as rows of text, for Markdown and for the page alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from service.domain.wording import count, percent, percent_range, probability
from service.output.forest import interval_of
from service.output.heading import replicate_name
from service.output.numbers import NONE, number, seconds, share

Report = Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        name: For links.
        header: Column titles; the first column names the row, the others hold numbers.
        remark: What is missing or to be read with care; None where nothing is.
        method: Estimator and source in a sentence; None where the numbers need none.
    """

    name: str
    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    remark: str | None = None
    method: str | None = None


def _range(interval: Mapping[str, float | None] | None, shown: Callable[[float | None], str] = number) -> str:
    return NONE if interval is None else f"{shown(interval['lower'])} to {shown(interval['upper'])}"


def _rate(rate: Mapping[str, Any]) -> str:
    return f"{rate['count']} of {rate['n']} ({_range(rate['interval_95'], share)})" if rate["n"] else NONE


def _pair(row: Mapping[str, Any]) -> str:
    return f"{row['challenger']} against {row['baseline']}"


def arms(report: Report) -> Table:
    """What each arm reached, and what it cost."""
    rows = tuple(
        (
            arm["name"],
            arm["optimizer"],
            number(arm["endpoint"]),
            _range(arm["endpoint_interval_95"]),
            share(arm["test_accuracy"]),
            _rate(arm["search_divergence"]),
            _rate(arm["confirm_divergence"]),
            f"{sum(arm['n_runs'].values())} of {sum(arm['n_runs_planned'].values())}{_pruned(arm)}",
            seconds(arm["cpu_s"]),
        )
        for arm in report["arms"]
    )
    header = ("arm", "optimizer", report["metric"], "95 % interval", "test accuracy")
    costs = ("diverged in search (95 %)", "diverged in confirm (95 %)", "trainings", "processor time")
    found = report["estimates"]["test_at_chosen"]
    return Table("arms", "Arms", (*header, *costs), rows, found["remark"], _method(found))


def _pruned(arm: Mapping[str, Any]) -> str:
    return f", {arm['n_pruned']} pruned" if arm.get("n_pruned") else ""


def effects(report: Report) -> Table:
    """Every declared pair in numbers."""
    rows = []
    for pair in report["comparisons"]:
        effect, interval = pair["effect"], interval_of(pair["effect"]["interval_95"])
        rows.append(
            (
                _pair(pair),
                NONE if effect["mean"] is None else percent(effect["mean"]),
                NONE if interval is None else percent_range(interval),
                NONE if pair["holm_p"] is None else probability(pair["holm_p"]).removeprefix("p ").removeprefix("= "),
                str(effect["n"]),
                number(pair["within_sd"]),
                number(pair["between_sd"]),
            )
        )
    header = ("pair", "change", "95 % interval", "Holm p", "replicates", "sd within (seeds)", "sd between (tuning)")
    found = report["estimates"]["variance_components"]
    method = f"Paired t over replicates (Student 1908); standard deviations: {_method(found)}"
    return Table("effects", "Effects and where their noise comes from", header, tuple(rows), found["remark"], method)


def tunability(report: Report) -> Table:
    """How much each arm depends on being tuned."""
    found = report["estimates"]["tunability"]
    rows = tuple(
        (
            row["arm"],
            number(row["weighted_incumbent"]),
            share(row["share_near_best"]),
            NONE if row["few_over_all"] is None else f"× {row['few_over_all']:.3g}",
            str(row["n_replicates"]),
        )
        for row in found["arms"]
    )
    header = ("arm", "weighted incumbent", "trials within 10 % of the best", "best of 3 ÷ best of all", "replicates")
    return Table("tunability", "Tunability", header, rows, found["remark"], _method(found))


def times(report: Report) -> Table:
    """Time to target, both arms of each pair."""
    found, rows = report["estimates"]["time_to_target"], []
    for pair in found["pairs"]:
        for arm in pair["arms"]:
            is_challenger = arm["arm"] == pair["challenger"]
            likely = _range(arm["hit_interval_95"], share) if arm.get("hit_interval_95") else NONE
            rows.append(
                (
                    f"{arm['arm']} ({_pair(pair)})",
                    number(pair["target"]),
                    f"{share(arm['hit_rate'])} ({arm['n_hits']} of {arm['n_runs']}; {likely})",
                    number(arm["restricted_mean_epochs"]),
                    number(arm["restricted_mean_steps"]),
                    _difference(pair["difference"]) if is_challenger else NONE,
                )
            )
    header = (
        "arm (pair)",
        "target",
        "hit rate (95 %)",
        "restricted mean epochs",
        "… steps",
        "difference in epochs (95 %)",
    )
    return Table(
        "times", "Time to the baseline's validation loss", header, tuple(rows), found["remark"], _method(found)
    )


def _difference(effect: Mapping[str, Any] | None) -> str:
    if effect is None or not effect["n"]:
        return NONE
    interval = f" ({_range(effect['interval_95'])})" if effect["interval_95"] else ""
    mean = f"{effect['mean']:+.3g}" if effect["mean"] else "0"
    return f"{mean}{interval}"


def improvement(report: Report) -> Table:
    """Probability of improvement."""
    found = report["estimates"]["probability_of_improvement"]
    rows = tuple(
        (_pair(row), number(row["probability"]), _range(row["interval_95"]), str(row["n_replicates"]))
        for row in found["pairs"]
    )
    header = ("pair", "probability", "95 % interval", "replicates")
    return Table(
        "improvement", "How often the challenger wins on the same seed", header, rows, found["remark"], _method(found)
    )


def sensitivity(report: Report) -> Table:
    """Importance of every searched hyperparameter."""
    found = report["estimates"]["sensitivity"]
    names = sorted({name for row in found["arms"] for name in row["importances"]})
    rows = tuple(
        (row["arm"], *(share(row["importances"].get(name)) for name in names), str(row["n_trials"]))
        for row in found["arms"]
        if row["importances"]
    )
    header = ("arm", *names, "search trials")
    return Table("sensitivity", "What matters in each arm's search", header, rows, found["remark"], _method(found))


def mechanism(report: Report) -> Table:
    """What the optimizers did to scale-invariant weights."""
    rows = tuple(
        (
            line["arm"],
            "no projection" if line["projection_rate"] is None else share(line["projection_rate"]),
            _times(line["norm_growth"]),
            _times(line["effective_lr_ratio"]),
            str(line["n_layers"]),
        )
        for line in report["mechanism"]["arms"]
        if line["n_layers"]
    )
    header = ("arm", "steps projected", "weight norm, end ÷ start", "effective lr, end ÷ start", "layers")
    method = (
        "Medians over confirm runs and scale-invariant layers; effective lr = lr / norm². "
        "Source: Heo et al., ICLR 2021."
    )
    return Table("mechanism", "What the optimizers did to the weights", header, rows, None, method)


def _times(value: float | None) -> str:
    return NONE if value is None else f"× {value:.3g}"


def winners(report: Report) -> Table:
    """Every replicate's chosen configuration, with the trial behind it."""
    searched = {name for space in report["spaces"].values() for name, entry in space.items() if isinstance(entry, dict)}
    names = sorted(searched)
    rows = tuple(
        (
            f"{arm['name']}, {replicate_name(report, winner['replicate'])}",
            NONE if winner["trial"] is None else str(winner["trial"]),
            number(winner["search_value"]),
            number(winner["select_mean"]),
            *(_parameter(winner["params"].get(name)) for name in names),
        )
        for arm in report["arms"]
        for winner in arm["winners"]
    )
    header = ("cell", "trial", "value in search", "mean in select", *names)
    remark = (
        "The value in search is optimistic: the trial was chosen for it. The mean over select's fresh seeds is not."
    )
    return Table("winners", "Chosen configurations", header, rows, remark)


def _parameter(value: Any) -> str:
    return NONE if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)


def runs(report: Report, pair: Mapping[str, Any]) -> Table:
    """The raw runs behind one pair, each with its trial."""
    rows = tuple(
        (
            f"{replicate_name(report, replicate['replicate'])}, seed {run['seed']}",
            f"{number(run['baseline_value'])}{' (diverged)' if run['baseline_diverged'] else ''}",
            str(run["baseline_trial"]),
            f"{number(run['challenger_value'])}{' (diverged)' if run['challenger_diverged'] else ''}",
            str(run["challenger_trial"]),
            percent(run["log_ratio"]),
        )
        for replicate in pair["replicates"]
        for run in replicate["runs"]
    )
    header = ("run", pair["baseline"], "trial", pair["challenger"], "trial", "change")
    return Table("runs", f"{_pair(pair)}: {count(len(rows), 'pair')} of confirm runs", header, rows)


def _method(found: Mapping[str, Any]) -> str:
    return f"{found['estimator'][0].upper()}{found['estimator'][1:]}. Source: {found['source']}."
