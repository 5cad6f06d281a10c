"""The command "accepts": whether a configuration names what is there; makes and loads it, and steps nothing."""

from collections.abc import Callable
from typing import Any

import torch

Make = Callable[..., Any]


def accepts(make_optimizer: Make, arguments: dict[str, Any]) -> dict[str, Any]:
    """Try every item.

    Args of the command:
        items: Each {"kind", "name", "arguments"}. "make": the side's optimizer with `arguments` over its own;
            "other": the optimizer `name` with nothing but `arguments`; "load": the object `name`; "method": a method of
            the side's optimizer.

    Returns:
        refusals: In the items' order, "" where it is accepted, else the sentence.
    """
    return {"refusals": [_refusal(make_optimizer, **item) for item in arguments["items"]]}


def _refusal(make_optimizer: Make, kind: str, name: str, arguments: dict[str, Any]) -> str:
    from .session import RefusedError, load_object, maker  # which imports the commands

    param = torch.nn.Parameter(torch.ones(2, 2))
    try:
        if kind == "make":
            make_optimizer([param], **arguments)
        elif kind == "other":
            maker(name, arguments)([param])
        elif kind == "load":
            load_object(name)
        elif not callable(getattr(make_optimizer([param]), name, None)):
            return f"{make_optimizer.optimizer.__name__} has no method {name!r}"  # type: ignore[attr-defined]
    except RefusedError as error:
        return " ".join(error.sentence.split())
    return ""
