"""Several workloads as one object: the pooled effect of a pair, and performance profiles. Reads reports' JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from service.domain.ruling import MIN_REPLICATES
from service.domain.statistics import SMALLEST_SD, Interval, holm, mean
from service.domain.wording import count, listing, percent, percent_range, probability

Report = Mapping[str, Any]
PROFILE_POINTS = 61
PROFILE_END = 2.0


@dataclass(frozen=True)
class Part:
    """The pair on one workload."""

    study: str
    workload: str
    n: int
    mean: float | None
    sd: float | None
    interval_95: Interval | None


@dataclass(frozen=True)
class PooledEffect:
    """One pair over the workloads.

    Attributes:
        parts: By workload, in the order of the reports.
        mean: Mean of the workloads' effects, each with the same weight; None where `problem` says why there is none.
        standard_error: sqrt(sum SE^2) / W.
        freedom: Welch-Satterthwaite degrees of freedom.
        p_value: Two-sided, of mean = 0.
        holm_p: The same, adjusted over the suite's pairs.
        interquartile_mean: Mean of the middle half of all replicates' log ratios: a description, robust to one
            workload.
        problem: Why there is no pooled effect; None where there is one.
    """

    baseline: str
    challenger: str
    parts: tuple[Part, ...]
    mean: float | None
    standard_error: float | None
    freedom: float | None
    interval_95: Interval | None
    p_value: float | None
    holm_p: float | None
    interquartile_mean: float | None
    problem: str | None


@dataclass(frozen=True)
class Profile:
    """One arm: share of (workload, replicate) places at which its endpoint is within `ratios` of the best arm's."""

    arm: str
    ratios: tuple[float, ...]
    shares: tuple[float, ...]


@dataclass(frozen=True)
class Suite:
    """Reports with common pairs.

    Attributes:
        problems: What speaks against reading them as one, in sentences.
    """

    studies: tuple[str, ...]
    pairs: tuple[PooledEffect, ...]
    profiles: tuple[Profile, ...]
    problems: tuple[str, ...]


def build_suite(reports: Sequence[Report]) -> Suite:
    """Pool the pairs that all reports declare.

    Raises:
        ValueError: Fewer than 2 reports, one spec twice (its numbers are the same), or no pair that all declare.
    """
    if len(reports) < 2:
        raise ValueError(f"a suite takes 2 studies at least, got {len(reports)}")
    hashes = [str(report["spec_hash"]) for report in reports]
    if twice := [str(r["study"]) for r, spec_hash in zip(reports, hashes, strict=True) if hashes.count(spec_hash) > 1]:
        raise ValueError(f"{twice[0]} stands twice: one spec has one result; give each study of a suite once")
    declared = [{(c["baseline"], c["challenger"]) for c in report["comparisons"]} for report in reports]
    common = [pair for pair in map(_names, reports[0]["comparisons"]) if all(pair in found for found in declared)]
    if not common:
        raise ValueError("these studies have no declared pair in common; a suite has the same arms on every workload")
    pooled = [pool(reports, *pair) for pair in common]
    adjusted = holm([entry.p_value for entry in pooled])
    pairs = tuple(PooledEffect(**{**vars(entry), "holm_p": p}) for entry, p in zip(pooled, adjusted, strict=True))
    return Suite(tuple(str(r["study"]) for r in reports), pairs, profiles(reports), tuple(_problems(reports)))


def _names(comparison: Mapping[str, Any]) -> tuple[str, str]:
    return comparison["baseline"], comparison["challenger"]


def pool(reports: Sequence[Report], baseline: str, challenger: str) -> PooledEffect:
    """Pooled effect of one pair.

    Every workload has the same weight: the suite asks about this set of workloads, and a quieter workload is no better
    witness of it. The interval therefore says nothing about workloads that are not in the suite.

    Source: mean of E with SE = sqrt(sum SE^2) / W; degrees of freedom after Welch 1947 and Satterthwaite 1946.
    """
    found = [next(c for c in r["comparisons"] if _names(c) == (baseline, challenger)) for r in reports]
    parts = tuple(_part(r, c) for r, c in zip(reports, found, strict=True))
    ratios = [replicate["mean"] for c in found for replicate in c["replicates"]]
    trimmed = float(stats.trim_mean(ratios, 0.25)) if ratios else None
    problem = _pooling_problem(reports, found, parts)
    if problem:
        return PooledEffect(baseline, challenger, parts, *(None,) * 6, trimmed, problem)
    center = mean([part.mean for part in parts if part.mean is not None])
    squares = [part.sd**2 / part.n for part in parts if part.sd is not None]
    error = math.sqrt(math.fsum(squares)) / len(parts)
    freedom = math.fsum(squares) ** 2 / math.fsum(s**2 / (p.n - 1) for s, p in zip(squares, parts, strict=True))
    half = float(stats.t.isf(0.025, freedom)) * error
    p_value = float(2 * stats.t.sf(abs(center) / error, freedom))
    interval = Interval(center - half, center + half)
    return PooledEffect(baseline, challenger, parts, center, error, freedom, interval, p_value, None, trimmed, None)


def _part(report: Report, comparison: Mapping[str, Any]) -> Part:
    effect = comparison["effect"]
    interval = effect["interval_95"]
    known = interval is not None and interval["lower"] is not None and interval["upper"] is not None
    ends = Interval(interval["lower"], interval["upper"]) if known else None
    return Part(report["study"], report["workload"], effect["n"], effect["mean"], effect["sd"], ends)


def _pooling_problem(
    reports: Sequence[Report], found: Sequence[Mapping[str, Any]], parts: Sequence[Part]
) -> str | None:
    if few := [part.workload for part in parts if part.n < MIN_REPLICATES]:
        return f"fewer than {MIN_REPLICATES} replicates on {listing(few)}"
    if early := [r["workload"] for r, c in zip(reports, found, strict=True) if c["blockers"]]:
        return f"the budgets are not used up on {listing(early)}"
    if still := [part.workload for part in parts if part.sd is None or part.sd <= SMALLEST_SD]:
        return f"the replicates do not vary on {listing(still)}, so that no error can be estimated"
    return None


def profiles(reports: Sequence[Report]) -> tuple[Profile, ...]:
    """Performance profiles of the arms that every report has.

    A place is one replicate of one workload in which every such arm has confirm runs; an arm's endpoint there is the
    geometric mean over its seeds.

    Source: Dolan & Moré, Math. Program. 91 (2002).
    """
    names = [a["name"] for a in reports[0]["arms"] if all(a["name"] in _arm_names(r) for r in reports)]
    places = [place for report in reports for place in _places(report, names)]
    if not places:
        return ()
    ratios = tuple(map(float, np.geomspace(1.0, PROFILE_END, PROFILE_POINTS)))
    logs = np.array(places)
    behind = logs - logs.min(axis=1, keepdims=True)
    return tuple(
        Profile(name, ratios, tuple(float(np.mean(behind[:, i] <= math.log(r) + 1e-12)) for r in ratios))
        for i, name in enumerate(names)
    )


def _arm_names(report: Report) -> set[str]:
    return {arm["name"] for arm in report["arms"]}


def _places(report: Report, names: Sequence[str]) -> list[list[float]]:
    by_arm = {arm["name"]: log_means(arm) for arm in report["arms"]}
    common = set.intersection(*(set(by_arm[name]) for name in names)) if names else set()
    return [[by_arm[name][replicate] for name in names] for replicate in sorted(common)]


def log_means(arm: Mapping[str, Any]) -> dict[int, float]:
    """Mean log test endpoint over the confirm seeds of each replicate, from an arm's raw runs."""
    groups: dict[int, list[float]] = {}
    for run in arm["confirm_runs"]:
        groups.setdefault(run["replicate"], []).append(math.log(run["value"]))
    return {replicate: mean(values) for replicate, values in sorted(groups.items())}


def _problems(reports: Sequence[Report]) -> list[str]:
    problems = []
    seeds = [report["seed"] for report in reports]
    if len(set(seeds)) < len(seeds):
        problems.append("Studies share a spec seed, and so draws and training seeds: they are not independent.")
    workloads = [str(report["workload"]) for report in reports]
    if twice := sorted({name for name in workloads if workloads.count(name) > 1}):
        problems.append(f"{listing(twice)} stands more than once: its weight in the mean is that of several workloads.")
    if len({str(report["code_revision"]) for report in reports}) > 1:
        problems.append("The studies ran different training code.")
    if len({str(report["device"]) for report in reports}) > 1:
        problems.append("The studies ran on different device classes.")
    budgets = {(r["budget"]["trials_per_cell"], r["budget"]["confirm_seeds"], r["sampler"]) for r in reports}
    if len(budgets) > 1:
        problems.append("The studies differ in T, S or sampler: the arms were not tuned alike on every workload.")
    return problems


def suite_sentence(pair: PooledEffect) -> str:
    """What the suite says of a pair."""
    name, names = f"{pair.challenger} against {pair.baseline}", {part.workload for part in pair.parts}
    over, each = count(len(names), "workload"), "workload"
    if len(names) < len(pair.parts):
        over, each = f"{len(pair.parts)} studies of {over}", "study"
    if pair.mean is None or pair.interval_95 is None:
        return f"{name} over {over}: no pooled effect, because {pair.problem}."
    holm_p = "" if pair.holm_p is None else f"; {probability(pair.holm_p)} after Holm"
    size = f"{percent(pair.mean)} on average (95 % interval {percent_range(pair.interval_95)}{holm_p})"
    return (
        f"{name} over {over}: endpoint {size}, every {each} with the same weight; "
        "it holds for these workloads, not for others."
    )
