"""The commands that a side answers, by name: `handle(make_optimizer, arguments) -> dict`.

`make_optimizer(params, **overrides)` makes the side's optimizer with the configuration's arguments; `.optimizer` is its
class. Arguments and answers are JSON, in which tensors may stand.
"""

from collections.abc import Callable
from typing import Any

from .accepts import accepts
from .burst import burst
from .counters import counters
from .describe import describe
from .interface import interface
from .properties import properties
from .train import train
from .trajectory import trajectory

Handler = Callable[[Callable[..., Any], dict[str, Any]], dict[str, Any]]

COMMANDS: dict[str, Handler] = {
    "describe": describe,
    "accepts": accepts,
    "trajectory": trajectory,
    "interface": interface,
    "properties": properties,
    "counters": counters,
    "burst": burst,
    "train": train,
}
