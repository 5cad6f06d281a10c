"""The comparison of a study's arms recomputed from its exported JSON: an oracle for the report.

It follows the written method (docs: comparing optimizers) with numpy and scipy, imports nothing of ours and shares no
code with the service. Intervals come from scipy's own test; the anytime-valid one is found by solving for the
likelihood ratio instead of by its closed form.
"""

from __future__ import annotations

import warnings
from itertools import product

import numpy as np
from scipy import optimize, stats

CLOSED_STATES = ("FINISHED", "FAILED", "CANCELLED")
COUNTED = ("finished", "diverged", "pruned")
MIRROR = {"better": "worse", "worse": "better"}


def recompute(export: dict) -> list[dict]:
    """Effect, intervals, Holm p and verdict of every declared pair, in the order of the spec.

    Args:
        export: The study's exported JSON: "study" with "spec" and "state", "workload" with "chance_level", "trials".
    """
    spec = export["study"]["spec"]
    results = [measure(export, *pair) for pair in spec["compare"]]
    p_values = [r["p_value"] if r["comparable"] and r["p_value"] is not None else 1.0 for r in results]
    adjusted = holm(np.array(p_values))
    for result, p in zip(results, adjusted, strict=True):
        has_p = result["comparable"] and result["p_value"] is not None
        result["holm_p"] = float(p) if has_p else None
        result["table_kind"] = table(result, spec["margin"])
        result["kind"] = downgraded(export, result)
    return results


def holm(p_values: np.ndarray) -> np.ndarray:
    """The k-th smallest of m is multiplied by m - k + 1, and none may be below a smaller one's."""
    order = np.argsort(p_values)
    factors = np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(factors * p_values[order]))
    return adjusted


def measure(export: dict, baseline: str, challenger: str) -> dict:
    spec, chance = export["study"]["spec"], export["workload"]["chance_level"]
    groups = []
    for replicate in range(spec["replicates"]):
        arms = [confirmed(export, arm, replicate, chance) for arm in (baseline, challenger)]
        enough = all(has_searched(export, arm, replicate) for arm in (baseline, challenger))
        common = sorted(set(arms[0]) & set(arms[1]))
        if enough and common:
            groups.append([np.log(arms[1][seed] / arms[0][seed]) for seed in common])
    return {
        "baseline": baseline,
        "challenger": challenger,
        "comparable": not any(is_behind(export, arm) for arm in (baseline, challenger)),
        "replicate_means": [float(np.mean(group)) for group in groups],
        **effect([float(np.mean(group)) for group in groups], export["study"].get("was_extended_after_look", False)),
    }


def effect(means: list[float], extended: bool) -> dict:
    nothing = {"interval_95": None, "interval_90": None, "p_value": None}
    out = {"n": len(means), "mean": float(np.mean(means)) if means else None, "sd": None, **nothing}
    if len(means) < 2:
        return out
    out["sd"] = float(np.std(means, ddof=1))
    if out["sd"] <= 1e-12:
        if abs(out["mean"]) <= 1e-12:
            point = (out["mean"], out["mean"])
            return out | {"interval_95": point, "interval_90": point, "p_value": 1.0}
        return out
    if extended:
        return out | mixture(out["mean"], out["sd"], len(means))
    test = stats.ttest_1samp(means, 0.0)
    intervals = {f"interval_{level}": tuple(map(float, test.confidence_interval(level / 100))) for level in (95, 90)}
    return out | intervals | {"p_value": float(test.pvalue)}


def mixture(center: float, sd: float, n: int) -> dict:
    """Interval: all means whose t has a likelihood ratio below 1/alpha, the standardised effect being N(0, 1)."""

    def log_ratio(t: float) -> float:
        a = 1 + n
        return -0.5 * np.log(a) + n / 2 * np.log((1 + t**2 / (n - 1)) / (1 + t**2 / (a * (n - 1))))

    def half_width(alpha: float) -> float:
        if log_ratio(1e8) <= np.log(1 / alpha):
            return np.inf
        critical = optimize.brentq(lambda t: log_ratio(t) - np.log(1 / alpha), 0, 1e8, xtol=1e-14, rtol=1e-15)
        return critical * sd / np.sqrt(n)

    t = center / (sd / np.sqrt(n))
    out = {"p_value": float(min(1.0, np.exp(-log_ratio(t))))}
    for level, alpha in ((95, 0.05), (90, 0.1)):
        out[f"interval_{level}"] = (center - half_width(alpha), center + half_width(alpha))
    return out


def table(result: dict, margin: float) -> str:
    """First condition that holds; a positive effect is judged as the mirror image of the negative one."""
    if not result["comparable"]:
        return "not_comparable"
    if result["n"] < 3 or result["holm_p"] is None:
        return "no_verdict"
    (low, high), (low_90, high_90) = result["interval_95"], result["interval_90"]
    inside = -margin < low_90 and high_90 < margin
    if result["holm_p"] < 0.05:
        side, reach = ("better", -high) if result["mean"] < 0 else ("worse", low)
        if reach > margin:
            return f"{side}_by_margin"
        return f"{side}_equivalent" if inside else side
    return "equivalent" if inside else "inconclusive"


def downgraded(export: dict, result: dict) -> str:
    """What is left of the table's row after divergence and ranges at their edge."""
    kind = result["table_kind"]
    baseline, challenger = result["baseline"], result["challenger"]
    shares = {arm: diverged_share(export, arm) for arm in (baseline, challenger)}
    if kind != "not_comparable" and shares[baseline] == shares[challenger] == 1:
        return "no_verdict"
    side, _, size = kind.partition("_")
    narrow = {arm for arm in (baseline, challenger) if is_too_narrow(export, arm)}
    winner, loser = (baseline, challenger) if side == "worse" else (challenger, baseline)
    if side in MIRROR:
        if shares[winner] > 0.1:
            kind = "equivalent" if size == "equivalent" else "inconclusive"
        elif loser in narrow:
            kind = "inconclusive"
        elif size == "equivalent" and winner in narrow:
            kind = side
    return "inconclusive" if kind == "equivalent" and narrow else kind


def of(export: dict, arm: str, phase: str, replicate: int | None = None) -> list[dict]:
    return [
        t for t in export["trials"] if t["arm"] == arm and t["phase"] == phase and replicate in (None, t["replicate"])
    ]


def searched(export: dict, arm: str, replicate: int) -> list[dict]:
    return [t for t in of(export, arm, "search", replicate) if t["outcome"] in COUNTED]


def has_searched(export: dict, arm: str, replicate: int) -> bool:
    """T trials, or what the budget in steps or seconds allows."""
    search, trials = export["study"]["spec"]["search"], searched(export, arm, replicate)
    fields = {"steps": "n_steps", "device_s": "duration_s"}
    limits = (search.get("budget") or {}).items()
    return len(trials) >= search["trials"] or any(
        sum(t[fields[unit]] or 0 for t in trials) >= most for unit, most in limits
    )


def confirmed(export: dict, arm: str, replicate: int, chance: float) -> dict[int, float]:
    """Test endpoint by seed; a diverged run counts as chance level."""
    runs = {}
    for t in of(export, arm, "confirm", replicate):
        if t["outcome"] == "diverged":
            runs[t["seed"]] = chance
        elif t["outcome"] == "finished" and t["test_value"] is not None:
            runs[t["seed"]] = t["test_value"]
    return runs


def diverged_share(export: dict, arm: str) -> float:
    outcomes = [t["outcome"] for t in of(export, arm, "confirm") if t["outcome"] in ("finished", "diverged")]
    return outcomes.count("diverged") / len(outcomes) if outcomes else 0.0


def is_behind(export: dict, arm: str) -> bool:
    """True while the arm's budget is not used up, or its confirm runs are not all in."""
    spec = export["study"]["spec"]
    if export["study"]["state"] in CLOSED_STATES:
        return False
    for replicate in range(spec["replicates"]):
        runs = [t for phase in ("search", "select", "confirm") for t in of(export, arm, phase, replicate)]
        is_open = any(t["state"] in ("WAITING", "RUNNING") for t in runs)
        if not has_searched(export, arm, replicate) or is_open or not of(export, arm, "confirm", replicate):
            return True
    return False


def is_too_narrow(export: dict, arm: str) -> bool:
    """At least 2 winners and at least half within 5 % of one edge, for lr or where the search trends to that edge."""
    spec = export["study"]["spec"]
    space = next(a["search"] for a in spec["arms"] if a["name"] == arm)
    ranges = {k: v for k, v in space.items() if isinstance(v, dict) and "choice" not in v}
    for (name, entry), edge in product(ranges.items(), (0.0, 1.0)):
        winners = [winner_params(export, arm, r).get(name) for r in range(spec["replicates"])]
        distances = np.abs(scaled([w for w in winners if w is not None], entry) - edge)
        near = int(np.sum(distances <= 0.05))
        if near >= 2 and near >= len(distances) / 2 and (name == "lr" or trends(export, arm, name, entry, edge)):
            return True
    return False


def winner_params(export: dict, arm: str, replicate: int) -> dict:
    configs = {t["config"] for t in of(export, arm, "confirm", replicate)}
    return next((t["params"] for t in of(export, arm, "search", replicate) if t["config"] in configs), {})


def scaled(values: list[float], entry: dict) -> np.ndarray:
    (scale, (low, high)), x = next(iter(entry.items())), np.asarray(values, dtype=float)
    if scale == "log":
        low, high, x = np.log(low), np.log(high), np.log(x)
    return (x - low) / (high - low)


def trends(export: dict, arm: str, name: str, entry: dict, edge: float) -> bool:
    """The best quarter of each cell's search lies closer to the edge than the rest (Mann-Whitney, one-sided, 5 %)."""
    top, rest = [], []
    for replicate in range(export["study"]["spec"]["replicates"]):
        trials = [t for t in searched(export, arm, replicate) if name in t["params"]]
        trials.sort(key=lambda t: (np.inf if t["value"] is None else t["value"], t["cell_number"]))
        distances = list(np.abs(scaled([t["params"][name] for t in trials], entry) - edge))
        cut = -(-len(distances) // 4)
        top, rest = top + distances[:cut], rest + distances[cut:]
    if min(len(top), len(rest)) < 2 or np.ptp(top + rest) == 0:
        return False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return bool(stats.mannwhitneyu(top, rest, alternative="less", method="asymptotic").pvalue < 0.05)
