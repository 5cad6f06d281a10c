"""Reports of checks, made up."""

from dataclasses import replace

from service.domain.checks import Check, CheckVerdict, Finding, Layer, LayerResult, Side

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def side(given: str = "main", revision: str = COMMIT) -> Side:
    return Side(given, "adamp:AdamP", revision, {"torch": "2.13.0"})


def finding(verdict: CheckVerdict, layer: Layer = Layer.NUMERICS, name: str = "float64-trajectories") -> Finding:
    return Finding(layer, name, verdict, f"{name} is {verdict}", command="tangent check --seed 3")


def check(*layers: LayerResult, acknowledged: str = "", **changes: object) -> Check:
    made = Check(
        name="adamp",
        baseline=side(),
        candidate=side(".", f"{COMMIT[:12]}-dirty"),
        layers=layers,
        seed=3,
        config={"optimizer": "adamp:AdamP"},
        environment={"python": "3.11"},
        acknowledged=acknowledged,
        created_at="2026-11-20T12:00:00+00:00",
        duration_s=61.5,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def layered(verdict: CheckVerdict, layer: Layer = Layer.NUMERICS) -> LayerResult:
    return LayerResult(layer, (finding(CheckVerdict.PASS, layer, "first"), finding(verdict, layer)), duration_s=1.0)


def full_check() -> Check:
    """One of everything: a failure with explanation, script and raw values, a change, a doubt, a skipped layer."""
    failed = Finding(
        Layer.NUMERICS,
        "float64-trajectories",
        CheckVerdict.FAIL,
        "wrong for 3 of 84 tensors | worst in `a_b*c`: error 0.1",
        estimate=0.1,
        limit=1e-11,
        unit="of the displacement",
        explanation="only with weight_decay > 0 and a projection: wd_ratio",
        script="import torch\nprint('``` <b>')\n",
        command="tangent check --baseline 0123 --seed 3 --layers numerics",
        data={"cases": {"plain": [0, 0.1, None]}},
    )
    timed = Finding(Layer.SPEED, "step-time", CheckVerdict.INCONCLUSIVE, "+8 %", 0.08, 0.01, 0.15, 0.1, "ratio - 1")
    changed = finding(CheckVerdict.CHANGED, Layer.SPEED, "aten-operators")
    passed = finding(CheckVerdict.PASS, Layer.NUMERICS, "delta-zero-is-adamw")
    layers = (
        LayerResult(Layer.NUMERICS, (passed, failed), duration_s=2.5),
        LayerResult(Layer.SPEED, (timed, changed), reason="stopped early", duration_s=12.0),
        LayerResult(Layer.TRAINING, reason="not run: numerics failed, which decides"),
    )
    return check(*layers)
