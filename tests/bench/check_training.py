"""How often the check's training layer errs, and what it sees: `python -m tests.bench.check_training`.

Trains AdamP and SGDP at the configuration's optima in pairs, and writes docs/check/training.json; about ten minutes of
one core. docs/check/training.md is made from it (`--page` does only that). Every check is simulated from a pool of
real pairs by the layer's own rules: 24 of the pool are its first block of seeds, 24 others the second.
"""

import copy
import json
import math
import statistics
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from service.domain.checks import CheckVerdict, worst
from service.domain.sequential import Decision, Plan, decide
from tests.bench.check_training_page import DATA, write_page
from workers.check.config import CheckConfig, TrainingWorkload, read_config_file
from workers.check.endpoints import ENDPOINTS, Outcome, verdict_of
from workers.check.probe.session import maker
from workers.check.probe.train import train
from workers.check.training import plan_of
from workers.check.training_data import starts

N_POOL, N_EFFECT, CHUNK = 96, 48, 16
N_SIMULATED, N_SIMULATED_SAME = 1000, 10_000
JITTER = 1e-3
BLOCK = 1_000  # no check has this block: what is measured here is no check's own seeds

# What is changed, as constructor arguments; "lr" and "weight_decay" are factors.
EFFECTS: dict[str, dict[str, dict[str, Any]]] = {
    "adamp": {
        "lr x 0.97": {"lr": 0.97},
        "lr x 0.5": {"lr": 0.5},
        "weight decay dropped": {"weight_decay": 0.0},
        "weight decay x 0.9": {"weight_decay": 0.9},
        "wd_ratio ignored": {"wd_ratio": 1.0},
        "delta ignored": {"delta": 0.0},
        "beta1 0.89": {"betas": (0.89, 0.999)},
        "nesterov on": {"nesterov": True},
    },
    "sgdp": {
        "lr x 0.97": {"lr": 0.97},
        "lr x 0.5": {"lr": 0.5},
        "weight decay dropped": {"weight_decay": 0.0},
        "wd_ratio ignored": {"wd_ratio": 1.0},
        "delta ignored": {"delta": 0.0},
        "momentum 0.89": {"momentum": 0.89},
        "nesterov off": {"nesterov": False},
    },
}
SHIFTS = {"train_loss": (0.01, 0.02, 0.03, 0.05, 0.10), "validation_loss": (0.05, 0.10, 0.15, 0.20, 0.30)}

Values = dict[str, list[float]]


def main() -> None:
    """Measure, simulate, write."""
    torch.set_num_threads(1)
    if "--page" not in sys.argv:
        configs = read_config_file(Path(__file__).parents[2] / "pyproject.toml")
        measured = {
            f"{name}, {workload.name}": measure(configs[name], workload)
            for name in EFFECTS
            for workload in configs[name].workloads
        }
        plan = plan_of(configs["adamp"])
        document = {
            "torch": torch.__version__,
            "looks": plan.looks,
            "pass_limits": [plan.limits_at(n).pass_ for n in plan.looks],
            "fail_limits": [plan.limits_at(n).fail for n in plan.looks],
            "margins": configs["adamp"].margins.model_dump(),
            "workloads": measured,
        }
        DATA.parent.mkdir(exist_ok=True)
        DATA.write_text(json.dumps(document, indent=1) + "\n")
    write_page()


def measure(config: CheckConfig, workload: TrainingWorkload) -> dict[str, Any]:
    """One optimizer on one network: pairs of the same code in two ways, then of changed code."""
    plan, margins = plan_of(config), config.margins.model_dump()
    before = run(config, workload, {}, N_EFFECT)
    rounding = run(config, workload, {"fused": False}, N_EFFECT)
    jittered = [run(config, workload, {}, N_POOL, jitter=side) for side in (1, 2)]
    centered = differences(*jittered, is_centered=True)
    found: dict[str, Any] = {
        "arguments": {**config.arguments, **workload.arguments},
        "same": {
            "another order of rounding": judged(before, rounding, plan, margins, n_simulated=N_SIMULATED_SAME),
            "first weights moved by 0.1 %": judged(
                *jittered, plan, margins, n_simulated=N_SIMULATED_SAME, is_symmetric=True
            ),
        },
        "shifts": {
            endpoint: {str(shift): simulate(shifted(centered, endpoint, shift), plan, margins) for shift in shifts}
            for endpoint, shifts in SHIFTS.items()
        },
        "effects": {},
    }
    for effect, changes in EFFECTS[config.name].items():
        print(config.name, workload.name, effect, flush=True)  # noqa: T201
        after = run(config, workload, overrides(config, workload, changes), N_EFFECT)
        found["effects"][effect] = judged(before, after, plan, margins)
    return found


def overrides(config: CheckConfig, workload: TrainingWorkload, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Constructor arguments of a changed candidate."""
    given = {**config.arguments, **workload.arguments}
    factors = {key: given[key] * changes[key] for key in ("lr", "weight_decay") if key in changes}
    return {**changes, **factors}


def run(
    config: CheckConfig, workload: TrainingWorkload, changed: Mapping[str, Any], n_seeds: int, jitter: int = 0
) -> Values:
    """Endpoints and accuracies of many seeds.

    Args:
        changed: Constructor arguments over the workload's.
        n_seeds: A multiple of CHUNK.
        jitter: Above 0: number of the random change of the first weights, by JITTER of each.
    """
    found: Values = {name: [] for name in (*(e.name for e in ENDPOINTS), "accuracy")}
    make = maker(config.optimizer, dict(config.arguments))
    for first in range(0, n_seeds, CHUNK):
        asked = copy.deepcopy(starts(workload.name, 0, BLOCK, first, CHUNK))
        if jitter:
            generator = torch.Generator().manual_seed(10 * first + jitter)
            asked["weights"] = {name: _moved(tensor, generator) for name, tensor in asked["weights"].items()}
        answer = train(make, {**asked, "device": "cpu", "overrides": {**workload.arguments, **changed}})
        losses = answer["losses"].double()
        found["behaviour"] += losses[:, :20].mean(1).tolist()
        found["train_loss"] += losses.mean(1).tolist()
        found["validation_loss"] += answer["validation_losses"].tolist()
        found["accuracy"] += answer["validation_accuracies"].tolist()
    return found


def _moved(tensor: Tensor, generator: torch.Generator) -> Tensor:
    return tensor * (1 + JITTER * torch.randn(tensor.shape, generator=generator))


def differences(baseline: Values, candidate: Values, *, is_centered: bool = False) -> Values:
    """Log ratios by endpoint; `is_centered` takes their mean out, so that the truth is no difference."""
    found = {}
    for endpoint in ENDPOINTS:
        pairs = zip(baseline[endpoint.name], candidate[endpoint.name], strict=True)
        ratios = [math.log(c / b) for b, c in pairs]
        center = statistics.fmean(ratios) if is_centered else 0.0
        found[endpoint.name] = [ratio - center for ratio in ratios]
    return found


def shifted(values: Values, endpoint: str, shift: float) -> Values:
    """The same differences with a true loss of `shift` (log) in one endpoint."""
    return {**values, endpoint: [value + shift for value in values[endpoint]]}


def judged(
    baseline: Values,
    candidate: Values,
    plan: Plan,
    margins: Mapping[str, float],
    *,
    n_simulated: int = N_SIMULATED,
    is_symmetric: bool = False,
) -> dict[str, Any]:
    """What simulated checks come to on a pool, and what its pairs are; see `simulate`."""
    pool = differences(baseline, candidate)
    accuracy = [c - b for b, c in zip(baseline["accuracy"], candidate["accuracy"], strict=True)]
    spread = statistics.stdev(accuracy)
    t = statistics.fmean(accuracy[: plan.looks[-1]]) / (spread / math.sqrt(plan.looks[-1])) if spread else 0.0
    return {
        "n_pairs": len(accuracy),
        "mean": {name: statistics.fmean(values) for name, values in pool.items()},
        "sd": {name: statistics.stdev(values) for name, values in pool.items()},
        "accuracy_mean": statistics.fmean(accuracy),
        "accuracy_p_24": float(2 * stats.t.sf(abs(t), plan.looks[-1] - 1)),
        "n_simulated": n_simulated,
        **simulate(pool, plan, margins, n_simulated, is_symmetric=is_symmetric),
    }


def simulate(
    pool: Values,
    plan: Plan,
    margins: Mapping[str, float],
    n_simulated: int = N_SIMULATED,
    *,
    is_symmetric: bool = False,
) -> dict[str, Any]:
    """Shares of the verdicts of simulated checks of one workload, and their mean number of pairs.

    Args:
        pool: Differences by endpoint.
        is_symmetric: The two sides of a pair could as well have been the other way round, and are in half of the draws:
            the truth is then no difference, whatever the pool's mean is.
    """
    rng = np.random.default_rng(20)
    verdicts: Counter[CheckVerdict] = Counter()
    n_pairs, most, n_pool = 0, plan.looks[-1], len(pool["behaviour"])
    for _ in range(n_simulated):
        order = rng.permutation(n_pool)[: 2 * most]
        signs = rng.choice((-1, 1), n_pool) if is_symmetric else np.ones(n_pool)
        drawn = {name: [float(signs[i]) * values[i] for i in order] for name, values in pool.items()}
        verdict, used = one_check(drawn, plan, margins)
        verdicts[verdict] += 1
        n_pairs += used
    shares = {verdict.value: count / n_simulated for verdict, count in verdicts.items()}
    return {**shares, "mean_pairs": n_pairs / n_simulated}


def one_check(drawn: Values, plan: Plan, margins: Mapping[str, float]) -> tuple[CheckVerdict, int]:
    """A workload's verdict and its number of pairs, on differences in the order in which they come in."""
    first, used = block(drawn, 0, plan, margins, [e.name for e in ENDPOINTS])
    failed = [e.name for e in ENDPOINTS if not e.is_behaviour and first[e.name].decision is Decision.WORSE]
    second, more = block(drawn, plan.looks[-1], plan, margins, failed) if failed else ({}, 0)
    return _verdict(first, second, has_failed=bool(failed)), used + more


def _verdict(first: Mapping[str, Outcome], second: Mapping[str, Outcome], *, has_failed: bool) -> CheckVerdict:
    """As the layer's findings: what was undecided when another endpoint failed counts for nothing."""
    return worst(
        verdict_of(endpoint, first[endpoint.name], second.get(endpoint.name))
        for endpoint in ENDPOINTS
        if not (has_failed and first[endpoint.name].decision is Decision.UNDECIDED)
    )


def block(
    drawn: Values, start: int, plan: Plan, margins: Mapping[str, float], names: Sequence[str]
) -> tuple[dict[str, Outcome], int]:
    """One block of seeds, look by look; returns the outcomes and the number of pairs taken."""
    outcomes = {name: Outcome(Decision.UNDECIDED, ()) for name in names}
    for n in plan.looks:
        for name in names:
            if outcomes[name].decision is Decision.UNDECIDED:
                values = tuple(drawn[name][start : start + n])
                outcomes[name] = Outcome(decide(values, margins[name], plan), values)
        decisions = [outcome.decision for outcome in outcomes.values()]
        is_failed = any(outcomes[name].decision is Decision.WORSE for name in names if name != "behaviour")
        if is_failed or Decision.UNDECIDED not in decisions:
            return outcomes, n
    return outcomes, plan.looks[-1]


if __name__ == "__main__":
    main()
