"""Which path steps the parameters of which device."""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from adamp import native


@dataclass(frozen=True)
class Path:
    """A faster path than plain torch, for one kind of device.

    Attributes:
        name: As in `ADAMP_PATH` and `paths()`.
        why_not: None if it can run here, else the reason.
        make_plan: A new plan for one parameter group; see `native.Plan`.
    """

    name: str
    why_not: Callable[[], str | None]
    make_plan: Callable[[], Any]


def _triton_why_not() -> str | None:
    from adamp import triton_plan  # importing triton takes seconds, so only where there are GPU parameters

    return triton_plan.why_not()


def _triton_plan() -> Any:
    from adamp import triton_plan

    return triton_plan.Plan()


# By device type, best first; plain torch is what remains where none can run.
_PATHS: dict[str, tuple[Path, ...]] = {
    "cpu": (Path("native", native.why_not, native.Plan),),
    "cuda": (Path("triton", _triton_why_not, _triton_plan),),
}
_NAMES = ("torch", *(path.name for paths in _PATHS.values() for path in paths))


def choose_path(device: str, fused: bool | None, *, is_silent: bool = False) -> Path | None:
    """The path for parameters on `device`; None is plain torch.

    Args:
        device: Type of the device, such as "cpu".
        fused: The optimizer's argument: False asks for plain torch, True refuses it, None leaves the choice to
            the environment's `ADAMP_PATH`, and that unset, to what is there.
        is_silent: Do not tell the user that the step will be slow.

    Raises:
        RuntimeError: What is asked for is not available; says why.
    """
    wanted = _wanted(fused)
    if wanted == "torch":
        return None
    candidates = [path for path in _PATHS.get(device, ()) if wanted in ("", "fused", path.name)]
    reasons = [f"{path.name}: {path.why_not()}" for path in candidates if path.why_not()]
    if usable := [path for path in candidates if path.why_not() is None]:
        return usable[0]
    if reasons and not wanted and not is_silent:
        _say_once(f"adamp uses plain torch for {device} parameters, several times slower: {'; '.join(reasons)}")
    # ADAMP_PATH=native says nothing about a GPU's parameters; fused=True speaks of every parameter.
    if wanted == "fused" or (wanted and candidates):
        raise RuntimeError(
            f"adamp has no fused step for {device} parameters here ({'; '.join(reasons) or 'none is written'}); "
            "leave fused=None and ADAMP_PATH unset to use plain torch."
        )
    return None


@cache
def _say_once(message: str) -> None:
    logging.getLogger("adamp").warning(message)


def _wanted(fused: bool | None) -> str:
    if fused is not None:
        return "fused" if fused else "torch"
    wanted = os.environ.get("ADAMP_PATH", "")
    if wanted and wanted not in _NAMES:
        raise RuntimeError(f"ADAMP_PATH must be one of {', '.join(_NAMES)}, got {wanted!r}.")
    return wanted


def paths() -> dict[str, str]:
    """Per device type, the path that optimizers with `fused=None` take, and why not the others.

    Returns:
        Such as {"cpu": "native (AVX-512, 2 threads of OpenMP)"} or {"cpu": "torch (native: no C compiler ...)"}.
    """
    devices = sorted({*_PATHS, "cuda"})
    return {device: _describe(device) for device in devices}


def _describe(device: str) -> str:
    try:
        path = choose_path(device, None, is_silent=True)
    except RuntimeError as error:
        return f"none: {error}"
    if path is not None:
        return path.name if path.name != "native" else f"native ({native.describe()})"
    if _wanted(None) == "torch":
        return "torch (ADAMP_PATH=torch)"
    reasons = [f"{path.name}: {path.why_not()}" for path in _PATHS.get(device, ()) if path.why_not()]
    return f"torch ({'; '.join(reasons) or 'no faster path is written for it'})"
