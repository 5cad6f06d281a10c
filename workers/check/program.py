"""A small failing case as a Python program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from workers.check.diagnosis import Setting
from workers.check.grid import words
from workers.check.judging import Result
from workers.check.probe.cases import SITUATIONS, Case
from workers.check.probe.situations import other_group


def program(setting: Setting, case: Case, golden: Result, limits: Sequence[float]) -> str:
    """At most 15 lines that need torch and the optimizer, and raise AssertionError where it is wrong.

    Args:
        setting: Names optimizer, arguments and dtype.
        case: With `start` and `pattern`; runs as in `probe/situations.py`.
        golden: Its trajectory.
        limits: Of each tensor, relative to the displacement.
    """
    weights = golden["weights"]
    ends = [_nested(part, shape) for part, shape in zip(weights[-1].split(case.sizes), case.shapes, strict=True)]
    moved = [part.norm().item() for part in (weights - weights[0]).norm(dim=0, p=float("inf")).split(case.sizes)]
    within = [float(f"{limit * (size or 1.0):.2g}") for limit, size in zip(limits, moved, strict=True)]
    special = "" if case.situation == "plain" else f" ({SITUATIONS[case.situation]})"
    body = _several if len(case.shapes) > 1 else _one
    place, _, name = setting.config.optimizer.rpartition(":")
    lines = [
        f'"""{name}{special} must end where the baseline ends; it is wrong where an assertion fails."""',
        "import torch",
        _import(place, name),
        "torch.set_default_dtype(torch.float64)",
        *body(setting, case, ends, within),
    ]
    return "\n".join(lines) + "\n"


def _import(place: str, name: str) -> str:
    if place.endswith(".py"):
        return f"{name} = __import__('runpy').run_path({place!r})[{name!r}]"
    return f"from {place} import {name}"


def _one(setting: Setting, case: Case, ends: list[Any], within: list[float]) -> list[str]:
    start, grads = case.start or [], [step[0] for step in case.pattern or []]
    dtype = "" if setting.dtype == "float64" else f".to(torch.{setting.dtype})"
    layout = {"channels-last": ".to(memory_format=torch.channels_last)", "transposed": _TRANSPOSED, "strided": _STRIDED}
    arguments = _arguments(setting, case)
    lines = [
        f"param = torch.tensor({start[0]}){dtype}{layout.get(case.situation, '')}.requires_grad_()",
        f"grads = torch.tensor({grads}){dtype}",
        f"optimizer = {_name(setting)}([param]{arguments})",
        f"for step in range({case.steps}):",
    ]
    middle = case.steps // 2
    if case.situation == "round-trip":
        lines += [
            f"    if step == {middle}:",
            f"        state, optimizer = optimizer.state_dict(), {_name(setting)}([param]{arguments})",
            "        optimizer.load_state_dict(state)",
        ]
    if case.situation == "lr-schedule":
        lines.append(f"    optimizer.param_groups[0]['lr'] /= 4 if step == {middle} else 1")
    grad = f"grads[step % {len(grads)}].clone()"
    if case.situation in layout:
        grad = f"torch.empty_like(param if step % 2 else grads[0]).copy_(grads[step % {len(grads)}])"
    if case.situation == "closure":
        lines += [
            f"    closure = lambda: setattr(param, 'grad', {grad}) or step + 0.5 * torch.is_grad_enabled()",
            "    with torch.no_grad():",
            "        assert optimizer.step(closure) == step + 0.5",
        ]
    else:
        lines += [f"    param.grad = {grad}", "    optimizer.step()"]
    return [*lines, f"expected = torch.tensor({ends[0]})", _ASSERTION.format(within[0])]


_TRANSPOSED = ".T.contiguous().T"
_STRIDED = ".unsqueeze(0).repeat(2, 1, 1).permute(1, 2, 0)[..., 0]"
_ASSERTION = "assert (off := (param - expected).norm().item()) <= {}, f'off by {{off:.2g}}'"


def _several(setting: Setting, case: Case, ends: list[Any], within: list[float]) -> list[str]:
    grads = [[_given(case, i, step, grad) for i, grad in enumerate(now)] for step, now in enumerate(case.pattern or [])]
    dtype = "" if setting.dtype == "float64" else f".to(torch.{setting.dtype})"
    lines = [
        f"params = [torch.tensor(start){dtype}.requires_grad_() for start in {case.start}]",
        f"grads = {grads}",
        f"optimizer = {_name(setting)}({_groups(setting, case)}{_arguments(setting, case)})",
        f"for step in range({case.steps}):",
    ]
    if case.situation == "late-group":
        late = "optimizer.add_param_group({'params': params[-2:]})"
        lines.append(f"    step != {max(1, case.steps // 3)} or {late}")
    return [
        *lines,
        f"    for param, grad in zip(params, grads[step % {len(grads)}]):",
        f"        param.grad = None if grad is None else torch.tensor(grad){dtype}",
        "    optimizer.step()",
        f"for param, end, most in zip(params, {ends}, {within}):",
        "    expected = torch.tensor(end)",
        f"    {_ASSERTION.format('most')}",
    ]


def _given(case: Case, i: int, step: int, grad: Any) -> Any:
    is_missing = (i + step) % 3 == 0 or i == len(case.shapes) - 1
    return None if case.situation == "missing-gradients" and is_missing else grad


def _groups(setting: Setting, case: Case) -> str:
    if case.situation == "late-group":
        return "params[:-2]"
    if case.situation == "two-groups":
        given = {**other_group(case.arguments), **setting.variant, "lr": 3 * _lr(setting)}
        return f"[{{'params': params[::2]}}, {{'params': params[1::2], **{given}}}]"
    return "params"


def _arguments(setting: Setting, case: Case) -> str:
    given = {**setting.config.arguments, **case.arguments, **setting.variant}
    if case.situation in ("tensor-lr", "vector-lr"):
        given.pop("lr", None)
        lr = [_lr(setting)] if case.situation == "vector-lr" else _lr(setting)
        return f", lr=torch.tensor({lr})" + _arguments_words(given)
    return _arguments_words(given)


def _arguments_words(given: dict[str, Any]) -> str:
    """Each after a comma."""
    tupled = {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}
    return f", {words(tupled)}" if tupled else ""


def _lr(setting: Setting) -> float:
    return float(setting.config.arguments.get("lr") or setting.baseline.description["signature"]["lr"])


def _name(setting: Setting) -> str:
    return setting.config.optimizer.rpartition(":")[2]


def _nested(part: Any, shape: Sequence[int]) -> Any:
    return part.reshape(shape).tolist()
