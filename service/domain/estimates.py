"""Curves and tables of a report, each with the name of its estimator and its source."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from service.domain.arm_report import ArmReport
from service.domain.bootstrap import MIN_REPLICATES
from service.domain.budget_curves import arm_curve, pair_curve
from service.domain.comparison import Comparison
from service.domain.improvement import probability_of_improvement
from service.domain.plain import to_plain
from service.domain.report_input import ReportInput
from service.domain.surface import surface
from service.domain.tunability import tunability
from service.domain.validation_curves import time_to_target
from service.domain.wording import budget_words, count, listing

FEW_FOR_IMPORTANCE = 50


@dataclass(frozen=True)
class Method:
    """How a table came about.

    Attributes:
        estimator: What is estimated, and how.
        source: Where the estimator is described.
        rows: "arms" or "pairs": what the table has a row for.
    """

    estimator: str
    source: str
    rows: str


_BAND = f"band: bootstrap over replicates, percentiles 2.5 and 97.5, from {MIN_REPLICATES} replicates on"
METHODS = {
    "expected_best": Method(
        "expected best validation endpoint of a search of n trials: unbiased minimum form on the log for random "
        f"search, mean incumbent for other samplers; mean over replicates; {_BAND}",
        "Tang et al., ACL 2020; Dodge et al., EMNLP 2019",
        "arms",
    ),
    "test_at_chosen": Method(
        "geometric mean test endpoint of the chosen configurations after T trials; t interval over replicates",
        "Student 1908",
        "arms",
    ),
    "difference": Method(
        "log ratio of the two arms' expected best, challenger over baseline, paired by replicate; at equal steps or "
        f"seconds by linear interpolation between trials of mean cost; {_BAND}",
        "as for the expected best",
        "pairs",
    ),
    "time_to_target": Method(
        "hit rate with Clopper-Pearson 95 % interval, as if runs were independent, then restricted mean time to the "
        "median of the baseline's best validation endpoints, over the confirm runs; means over replicates; "
        "difference: t interval over replicates, paired by seed",
        "Royston & Parmar 2013; Clopper & Pearson 1934",
        "pairs",
    ),
    "tunability": Method(
        "weighted incumbent: expected best over budgets t = 1 .. T with weights T - t + 1, on the log; share of search "
        "trials within 10 % of the arm's best; expected best of 3 over that of T",
        "Sivaprasad et al., ICML 2020",
        "arms",
    ),
    "divergence": Method(
        "share of runs that diverged; Clopper-Pearson 95 % interval, as if runs were independent",
        "Clopper & Pearson 1934",
        "arms",
    ),
    "sensitivity": Method(
        "PED-ANOVA: share of each searched hyperparameter in reaching the best tenth of the arm's search trials",
        "Watanabe et al., IJCAI 2023, by Optuna",
        "arms",
    ),
    "surface": Method(
        "median validation endpoint of the search trials in each field of delta x wd_ratio, the rest as drawn",
        "none: a description",
        "arms",
    ),
    "probability_of_improvement": Method(
        "mean over replicates of the share of seeds on which the challenger is better, ties half; cluster bootstrap "
        f"over replicates, then seeds, from {MIN_REPLICATES} replicates on",
        "Agarwal et al., NeurIPS 2021",
        "pairs",
    ),
    "variance_components": Method(
        "standard deviation within replicates (seeds) and between them (tuning), one-way random effects by moments",
        "Searle et al. 1992, ch. 3",
        "pairs",
    ),
}


def estimates(source: ReportInput, comparisons: Sequence[Comparison], arms: Sequence[ArmReport]) -> dict[str, Any]:
    """JSON form of every table: `estimator`, `source`, `remark` (a sentence or null), and `arms` or `pairs`."""
    rows: dict[str, list[Any]] = {
        "expected_best": [arm_curve(source, arm.name) for arm in source.arms],
        "test_at_chosen": [_test_at_chosen(source, arm) for arm in arms],
        "difference": [pair_curve(source, *pair) for pair in source.compare],
        "time_to_target": [time_to_target(source, *pair) for pair in source.compare],
        "tunability": [tunability(source, arm.name) for arm in source.arms],
        "divergence": [
            {"arm": arm.name, "search": arm.search_divergence, "confirm": arm.confirm_divergence} for arm in arms
        ],
        "sensitivity": [_sensitivity(source, arm) for arm in arms],
        "surface": [found for arm in source.arms if (found := surface(source, arm)) is not None],
        "probability_of_improvement": [probability_of_improvement(c.measurement) for c in comparisons],
        "variance_components": [_components(c) for c in comparisons],
    }
    return {name: _table(source, name, to_plain(rows[name])) for name in METHODS}


def _table(source: ReportInput, name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    method = METHODS[name]
    remark = _REMARKS[name](source, rows)
    return {"estimator": method.estimator, "source": method.source, "remark": remark, method.rows: rows}


def _test_at_chosen(source: ReportInput, arm: ArmReport) -> dict[str, Any]:
    return {
        "arm": arm.name,
        "trials": source.trials_per_cell,
        "value": arm.endpoint,
        "interval_95": arm.endpoint_interval_95,
    }


def _sensitivity(source: ReportInput, arm: ArmReport) -> dict[str, Any]:
    return {
        "arm": arm.name,
        "n_trials": arm.n_search,
        "importances": dict(source.importances.get(arm.name, {})),
        "is_thin": arm.n_search < FEW_FOR_IMPORTANCE,
    }


def _components(comparison: Comparison) -> dict[str, Any]:
    found = comparison.measurement
    return {
        "baseline": found.baseline,
        "challenger": found.challenger,
        "within_sd": found.components.within_sd,
        "between_sd": found.components.between_sd,
    }


def _remark_on_curves(source: ReportInput, rows: list[dict[str, Any]]) -> str | None:
    remarks = []
    if empty := [
        row.get("arm") or f"{row['challenger']} against {row['baseline']}" for row in rows if not row["trials"]
    ]:
        remarks.append(_no_search_is_over(source, empty))
    if source.search_budget is not None and (longest := max(len(row["trials"]) for row in rows)):
        limit = budget_words(source.search_budget)
        remarks.append(f"A budget of {limit} ended the searches: curves run to the fewest trials of any, {longest}.")
    if any(row["trials"] and row["lower"] is None for row in rows):
        remarks.append(f"No band: that takes {MIN_REPLICATES} replicates.")
    if source.sampler != "random":
        remarks.append(f"Mean incumbent, because the trials of {source.sampler} depend on one another.")
    if source.pruner != "none":
        remarks.append(f"Biased by the pruner {source.pruner}: a stopped trial counts with its value at that step.")
    return " ".join(remarks) or None


def _no_search_is_over(source: ReportInput, names: list[str]) -> str:
    if source.search_budget is not None:
        return f"No search of {listing(names)} has used its {budget_words(source.search_budget)} yet."
    return f"No replicate of {listing(names)} has all {count(source.trials_per_cell, 'search trial')} yet."


def _remark_on_test(source: ReportInput, _: list[dict[str, Any]]) -> str:
    limit = budget_words(source.search_budget)
    whole = f"the whole budget of {limit}" if limit else f"T = {source.trials_per_cell}"
    return (
        f"Only at {whole}: the test set is read by confirm runs alone, so that smaller budgets have no test endpoint."
    )


def _remark_on_targets(_: ReportInput, rows: list[dict[str, Any]]) -> str | None:
    if missing := [row for row in rows if row["target"] is None]:
        pairs = listing([f"{row['challenger']} against {row['baseline']}" for row in missing])
        return f"No target for {pairs}: the baseline has no finished confirm run with validation values."
    return None


def _remark_on_tunability(source: ReportInput, rows: list[dict[str, Any]]) -> str | None:
    if empty := [row["arm"] for row in rows if row["n_replicates"] == 0]:
        return _no_search_is_over(source, empty)
    return None


def _remark_on_sensitivity(_: ReportInput, rows: list[dict[str, Any]]) -> str | None:
    thin = [row["arm"] for row in rows if row["is_thin"]]
    if not thin:
        return None
    return f"Fewer than {FEW_FOR_IMPORTANCE} search trials in {listing(thin)}: shares are rough, or missing below 10."


def _remark_on_surface(_: ReportInput, rows: list[dict[str, Any]]) -> str | None:
    if not rows:
        return "No arm searches both delta and wd_ratio."
    thin = sum(cell["is_thin"] for row in rows for cell in row["cells"])
    return f"{count(thin, 'field')} with fewer than 3 trials." if thin else None


def _remark_on_improvement(_: ReportInput, rows: list[dict[str, Any]]) -> str | None:
    intervals = [row["interval_95"] for row in rows]
    if None in intervals:
        return f"No interval: that takes {MIN_REPLICATES} replicates."
    if any(entry["lower"] == entry["upper"] for entry in intervals):
        return (
            "An interval without width says that all runs agree: a bootstrap cannot say more, and it is no certainty."
        )
    return None


def _no_remark(_: ReportInput, __: list[dict[str, Any]]) -> None:
    return None


_REMARKS: dict[str, Callable[[ReportInput, list[dict[str, Any]]], str | None]] = {
    "expected_best": _remark_on_curves,
    "test_at_chosen": _remark_on_test,
    "difference": _remark_on_curves,
    "time_to_target": _remark_on_targets,
    "tunability": _remark_on_tunability,
    "divergence": _no_remark,
    "sensitivity": _remark_on_sensitivity,
    "surface": _remark_on_surface,
    "probability_of_improvement": _remark_on_improvement,
    "variance_components": _no_remark,
}
