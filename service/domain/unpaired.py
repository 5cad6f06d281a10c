"""Two arms of different studies: Welch's test on replicate means, or a paired one where one spec ran twice.

The second is a study before and after a change of code: the same file has the same seeds and draws.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy import stats

from service.domain.ruling import MIN_REPLICATES
from service.domain.statistics import SMALLEST_SD, Interval, estimate_effect, mean, sample_sd
from service.domain.suite import log_means
from service.domain.wording import listing, margin_percent, percent, percent_range, probability

Report = Mapping[str, Any]


@dataclass(frozen=True)
class Unpaired:
    """One arm of one study against one arm of another, log scale, challenger over baseline.

    Attributes:
        baseline: "STUDY: ARM".
        challenger: Likewise.
        n: Replicates of each, baseline first.
        mean: Difference of the mean log endpoints; None without replicates.
        is_paired: True where both ran the same spec and arm, so that seeds pair their runs.
        freedom: Degrees of freedom: Welch's, or pairs of replicates less one.
        interval_95: None where no error can be estimated: fewer than 2 replicates, or none that vary.
        p_value: Two-sided, not adjusted for other comparisons.
        sentence: Complete on its own.
        warnings: What to know and what else differs, in sentences.
    """

    baseline: str
    challenger: str
    n: tuple[int, int]
    is_paired: bool
    mean: float | None
    freedom: float | None
    interval_95: Interval | None
    p_value: float | None
    sentence: str
    warnings: tuple[str, ...]


def compare_studies(first: Report, second: Report, baseline: str, challenger: str) -> Unpaired:
    """Compare an arm of one study with an arm of another on the same workload.

    Source: Welch, Biometrika 34 (1947), on the replicates' mean log endpoints; one-sample t on their paired
    differences where `is_paired`.

    Raises:
        ValueError: Different workloads or metrics, or no such arm.
    """
    for key in ("workload", "metric", "options"):
        if first.get(key) != second.get(key):
            raise ValueError(f"the studies cannot be compared: {key} {first.get(key)} against {second.get(key)}")
    arms = _arm(first, baseline), _arm(second, challenger)
    is_paired = first["spec_hash"] == second["spec_hash"] and baseline == challenger
    groups = [list(log_means(arm).values()) for arm in arms]
    found = _paired(*arms) if is_paired else _welch(*groups)
    names = f"{first['study']}: {baseline}", f"{second['study']}: {challenger}"
    sizes = len(groups[0]), len(groups[1])
    center, freedom, interval, p_value = found
    return Unpaired(
        baseline=names[0],
        challenger=names[1],
        n=sizes,
        is_paired=is_paired,
        mean=center,
        freedom=freedom,
        interval_95=interval,
        p_value=p_value,
        sentence=_sentence(names, sizes, found, first, test="paired t" if is_paired else "Welch"),
        warnings=tuple(_warnings(first, second, is_paired=is_paired)),
    )


def _arm(report: Report, name: str) -> Mapping[str, Any]:
    for arm in report["arms"]:
        if arm["name"] == name:
            return dict(arm)
    known = listing([arm["name"] for arm in report["arms"]])
    raise ValueError(f"study '{report['study']}' has no arm '{name}'; it has {known}")


_Found = tuple[float | None, float | None, Interval | None, float | None]


def _welch(first: Sequence[float], second: Sequence[float]) -> _Found:
    if not first or not second:
        return None, None, None, None
    center = mean(second) - mean(first)
    spreads = sample_sd(first), sample_sd(second)
    if spreads[0] is None or spreads[1] is None or max(spreads[0], spreads[1]) <= SMALLEST_SD:
        return center, None, None, None
    squares = [sd**2 / len(group) for sd, group in ((spreads[0], first), (spreads[1], second))]
    error = math.sqrt(sum(squares))
    freedom = sum(squares) ** 2 / sum(s**2 / (len(g) - 1) for s, g in zip(squares, (first, second), strict=True))
    half = float(stats.t.isf(0.025, freedom)) * error
    p_value = float(2 * stats.t.sf(abs(center) / error, freedom))
    return center, freedom, Interval(center - half, center + half), p_value


def _paired(first: Mapping[str, Any], second: Mapping[str, Any]) -> _Found:
    """One-sample t over the replicates' mean log ratios on common seeds."""
    groups: dict[int, list[float]] = {}
    before = {(run["replicate"], run["seed"]): run["value"] for run in first["confirm_runs"]}
    for run in second["confirm_runs"]:
        if (place := (run["replicate"], run["seed"])) in before:
            groups.setdefault(run["replicate"], []).append(math.log(run["value"]) - math.log(before[place]))
    effect = estimate_effect([mean(values) for values in groups.values()])
    if not effect.n:
        return None, None, None, None
    return effect.mean, float(effect.n - 1), effect.interval_95, effect.p_value


def _sentence(names: tuple[str, str], sizes: tuple[int, int], found: _Found, report: Report, *, test: str) -> str:
    opening = f"{names[1]} against {names[0]}"
    center, _, interval, p_value = found
    if center is None:
        return f"{opening}: nothing to compare, one of them has no confirm runs."
    facts = f"{report['metric']} {percent(center)}"
    if interval is None or p_value is None:
        return f"{opening}: {facts}, without an interval: that takes 2 replicates each that vary."
    replicates = f"R = {sizes[0]} and {sizes[1]}"
    tested = f"{facts} (95 % interval {percent_range(interval)}; {probability(p_value)}, {test}, {replicates})"
    if min(sizes) < MIN_REPLICATES:
        return f"{opening}: {tested}. Fewer than {MIN_REPLICATES} replicates: no verdict."
    if p_value < 0.05:
        return f"{opening}: {tested}. {'Better' if center < 0 else 'Worse'}."
    if interval.is_inside(report["margin"]):
        return f"{opening}: {tested}. Equivalent within {margin_percent(report['margin'])}."
    ruled_out = f"not worse than {percent(interval.upper)}, not better than {percent(interval.lower)}"
    return f"{opening}: {tested}. Inconclusive: {ruled_out}."


def _warnings(first: Report, second: Report, *, is_paired: bool) -> list[str]:
    warnings = ["The pair was not declared before the trials ran: its p-value is not corrected for the choice."]
    if not is_paired:
        warnings.insert(0, "Nothing is paired, as if all seeds differed: the interval is wider than that of one study.")
        if first["spec_hash"] == second["spec_hash"]:
            warnings.insert(0, "Both arms belong to one study: a pair declared in its file is paired by seed.")
    running = [report["study"] for report in (first, second) if not report["is_finished"]]
    warnings.extend(f"Study '{name}' still runs: its replicates are not all there." for name in running)
    for report in (first, second):
        warnings.extend(_own_warnings(report))
    if first["code_revision"] != second["code_revision"]:
        warnings.append("The training code differs: a difference may come from that, which may be the question.")
    elif is_paired:
        warnings.append(
            "The code is the same, too: equal runs say that they can be repeated, not that nothing differs."
        )
    if first["device"] != second["device"]:
        warnings.append(f"The device class differs: {first['device']} and {second['device']}.")
    shown = [name for key, name in _BUDGET.items() if first["budget"].get(key) != second["budget"].get(key)]
    shown += [key for key in ("sampler", "pruner") if first.get(key, "none") != second.get(key, "none")]
    if shown:
        warnings.append(f"The arms were not tuned alike: the studies differ in {listing(shown)}.")
    return warnings


def _own_warnings(report: Report) -> Iterator[str]:
    """What of one of the studies speaks against reading the interval as it stands."""
    if report.get("was_extended_after_look") or report.get("looks"):
        yield (
            f"Study '{report['study']}' was looked at while replicates came in: this interval takes its number of "
            "replicates as fixed beforehand, and errs more often than it says."
        )
    if not report.get("registration", {}).get("is_preregistered", True):
        yield f"Study '{report['study']}' was imported and not preregistered."


_BUDGET = {
    "trials_per_cell": "search trials",
    "select_top": "configurations in select",
    "select_seeds": "seeds in select",
    "confirm_seeds": "confirm seeds",
    "search": "the budget of a search",
}
