"""Every table of a report recomputed from its JSON alone: plain, slow, and without a line of the service.

Expected bests are averages over all subsets of the trials, written out; bands come from scipy's own bootstrap.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterable

import numpy as np
import optuna
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from tests.reference import report_oracle

COUNTED = ("finished", "diverged", "pruned")


def as_export(report: dict) -> dict:
    """The report's raw part in the form of a study's export, for `report_oracle.recompute`."""
    budget = report["budget"]
    params = {(t["arm"], t["replicate"], t["config"]): t["params"] for t in report["trials"] if t["phase"] == "search"}
    trials = [{**t, "params": params.get((t["arm"], t["replicate"], t["config"]), {})} for t in report["trials"]]
    spec = {
        "margin": report["margin"],
        "compare": report["compare"],
        "confirm": {"seeds": budget["confirm_seeds"]},
        "search": {"trials": budget["trials_per_cell"], "budget": budget["search"]},
        "replicates": budget["replicates"],
        "arms": [{"name": name, "search": space} for name, space in report["spaces"].items()],
    }
    state = "FINISHED" if report["is_finished"] else "RUNNING"
    study = {"spec": spec, "state": state, "was_extended_after_look": report["was_extended_after_look"]}
    return {"study": study, "workload": {"chance_level": report["chance_level"]}, "trials": trials}


def logs(report: dict, arm: str) -> dict[int, list[float]]:
    """Log validation endpoints of the counted search trials, by replicate; chance level for diverged ones."""
    found: dict[int, list[tuple[int, float]]] = {}
    for t in report["trials"]:
        if t["arm"] == arm and t["phase"] == "search" and t["outcome"] in COUNTED:
            bad = t["value"] is None or t["outcome"] == "diverged"
            value = np.log(report["chance_level"] if bad else t["value"])
            found.setdefault(t["replicate"], []).append((t["cell_number"], value))
    return {r: [v for _, v in sorted(values)] for r, values in sorted(found.items())}


def complete(report: dict, arm: str) -> dict[int, list[float]]:
    n, export = report["budget"]["trials_per_cell"], as_export(report)
    return {r: values[:n] for r, values in logs(report, arm).items() if report_oracle.has_searched(export, arm, r)}


def curves(report: dict, arm: str) -> dict[int, list[float]]:
    """Random search: the mean of the minimum over every subset of each size. Else the running minimum."""
    if report["sampler"] != "random":
        return {r: [min(v[: n + 1]) for n in range(len(v))] for r, v in complete(report, arm).items()}
    return {
        r: [float(np.mean([min(c) for c in itertools.combinations(v, n + 1)])) for n in range(len(v))]
        for r, v in complete(report, arm).items()
    }


def expected_best(report: dict, arm: str) -> list[float]:
    matrix = shortest(curves(report, arm).values())
    return np.exp(np.mean(matrix, axis=0)).tolist() if matrix else []


def shortest(rows: Iterable[list[float]]) -> list[list[float]]:
    """All rows as long as the shortest: a budget in steps or seconds leaves cells with different numbers of trials."""
    rows = list(rows)
    n = min(map(len, rows), default=0)
    return [row[:n] for row in rows]


def difference(report: dict, baseline: str, challenger: str) -> tuple[list[float], list[list[float]]]:
    """Mean curve, and the curve of each replicate."""
    a, b = curves(report, baseline), curves(report, challenger)
    n = min(map(len, [*a.values(), *b.values()]), default=0)
    matrix = [list(np.subtract(b[r][:n], a[r][:n])) for r in sorted(a.keys() & b.keys())]
    return (np.mean(matrix, axis=0).tolist() if matrix else []), matrix


def band(matrix: list[list[float]]) -> tuple[np.ndarray, np.ndarray]:
    """scipy's percentile bootstrap of the mean over replicates, with more resamples and another seed."""
    found = stats.bootstrap(
        (np.array(matrix),), np.mean, n_resamples=6000, method="percentile", rng=np.random.default_rng(3)
    )
    return found.confidence_interval.low, found.confidence_interval.high


def difference_at_cost(report: dict, baseline: str, challenger: str, field: str, at: float) -> float:
    """Mean over replicates of the log ratio where both arms have spent `at`, by straight lines between trials."""
    a, b = curves(report, baseline), curves(report, challenger)
    n = min(map(len, [*a.values(), *b.values()]))
    ends = []
    for arm, found in ((baseline, a), (challenger, b)):
        cost = np.mean([t[field] for t in report["trials"] if t["arm"] == arm and t["phase"] == "search"])
        lower = min(max(int(at / cost), 1), n - 1)
        share = at / cost - lower
        ends.append({r: (1 - share) * v[lower - 1] + share * v[lower] for r, v in found.items()})
    return float(np.mean([ends[1][r] - ends[0][r] for r in sorted(a.keys() & b.keys())]))


def tunability(report: dict, arm: str) -> tuple[float, float, float | None] | None:
    found = shortest(curves(report, arm).values())
    if not found:
        return None
    mean = np.mean(found, axis=0)
    n = len(mean)
    weighted = sum((n - t + 1) * mean[t - 1] for t in range(1, n + 1)) / sum(n - t + 1 for t in range(1, n + 1))
    values = complete(report, arm)
    limit = 1.1 * np.exp(min(min(v) for v in values.values()))
    near = np.mean([np.mean(np.exp(v) <= limit) for v in values.values()])
    return float(np.exp(weighted)), float(near), float(np.exp(mean[2] - mean[-1])) if n >= 3 else None


def improvement(report: dict, pair: dict) -> float | None:
    """From the comparison's raw runs."""
    shares = [
        np.mean(
            [
                0.5 if x["challenger_value"] == x["baseline_value"] else x["challenger_value"] < x["baseline_value"]
                for x in r["runs"]
            ]
        )
        for r in pair["replicates"]
    ]
    return float(np.mean(shares)) if shares else None


def rate(count: int, n: int) -> tuple[float, float]:
    return proportion_confint(count, n, 0.05, "beta") if n else (0.0, 1.0)


def targets(report: dict, baseline: str, challenger: str) -> dict:
    """Target, hits and restricted mean epochs of both arms, and the paired differences by replicate."""
    curve = {c["trial"]: c for c in report["curves"]}
    arms = {a["name"]: a for a in report["arms"]}
    outcome = {t["number"]: t["outcome"] for t in report["trials"]}
    runs = {
        name: [(x["replicate"], x["seed"], x["trial"]) for x in arms[name]["confirm_runs"] if x["trial"] in curve]
        for name in (baseline, challenger)
    }
    best = [min(filter(None, curve[t]["values"])) for _, _, t in runs[baseline] if outcome[t] == "finished"]
    target = float(np.median(best))
    horizon = max(curve[t]["epochs"][-1] for name in runs for _, _, t in runs[name])

    def time(trial: int) -> float | None:
        if outcome[trial] != "finished":
            return None
        pairs = zip(curve[trial]["epochs"], curve[trial]["values"], strict=True)
        return next((e for e, v in pairs if v is not None and v <= target), None)

    out: dict = {"target": target, "arms": {}}
    for name in (baseline, challenger):
        groups: dict[int, list[tuple[bool, float]]] = {}
        for replicate, _, trial in runs[name]:
            found = time(trial)
            groups.setdefault(replicate, []).append((found is not None, horizon if found is None else found))
        rates = [np.mean([hit for hit, _ in g]) for g in groups.values()]
        means = [np.mean([t for _, t in g]) for g in groups.values()]
        out["arms"][name] = (float(np.mean(rates)), float(np.mean(means)))
    return out


def surface(report: dict, arm: str) -> dict[tuple[int, int], list[float]]:
    space, found = report["spaces"][arm], {}
    for t in report["trials"]:
        if t["arm"] == arm and t["phase"] == "search" and t["outcome"] in COUNTED:
            u = []
            for name in ("wd_ratio", "delta"):
                low, high = np.log(space[name]["log"])
                u.append(min(3, int(4 * (np.log(t["params"][name]) - low) / (high - low))))
            bad = t["value"] is None or t["outcome"] == "diverged"
            found.setdefault(tuple(u), []).append(report["chance_level"] if bad else t["value"])
    return found


def importances(report: dict, arm: str) -> dict[str, float]:
    """Optuna asked directly."""
    space = {k: v["log"] for k, v in report["spaces"][arm].items() if isinstance(v, dict)}
    distributions = {k: optuna.distributions.FloatDistribution(*v, log=True) for k, v in space.items()}
    study = optuna.create_study()
    for t in report["trials"]:
        if t["arm"] == arm and t["phase"] == "search" and t["outcome"] in COUNTED:
            bad = t["value"] is None or t["outcome"] == "diverged"
            value = np.log(report["chance_level"] if bad else t["value"])
            params = {k: t["params"][k] for k in space}
            study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=value))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return optuna.importance.get_param_importances(study)


def mechanism(report: dict, arm: str) -> tuple[float, float, float | None]:
    """Medians over layers of the medians over runs: growth, effective rate, projected share."""
    owner = {t["number"]: t["arm"] for t in report["trials"]}
    layers: dict[str, list[tuple[float, float | None]]] = {}
    for run in report["mechanism"]["runs"]:
        if owner[run["trial"]] == arm:
            layers.setdefault(run["layer"], []).append((run["norm_growth"], run["projection_rate"]))
    growth = [np.median([g for g, _ in runs]) for runs in layers.values()]
    rates = [np.median([1 / g**2 for g, _ in runs]) for runs in layers.values()]
    shares = [np.median([p for _, p in runs if p is not None]) for runs in layers.values() if runs[0][1] is not None]
    return float(np.median(growth)), float(np.median(rates)), float(np.median(shares)) if shares else None
