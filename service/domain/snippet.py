"""The winning configuration as the lines of Python that construct it."""

from __future__ import annotations

import math
from collections.abc import Mapping

from service.domain.catalog import Optimizer, constructor_arguments
from service.domain.space import Value


def constructor_lines(optimizer: Optimizer, params: Mapping[str, Value]) -> list[str]:
    """An import and a call that build the optimizer with a trial's parameters over `model.parameters()`.

    Floats are rounded to 4 significant digits, which changes no result that a report distinguishes; of those just
    below 1, such as beta2, it is the distance from 1 that keeps 4.
    """
    module, _, name = optimizer.import_name.partition(":")
    arguments = constructor_arguments(params)
    ordered = sorted(arguments.items(), key=lambda item: (item[0] != "lr", item[0]))
    listed = "".join(f", {key}={_literal(value)}" for key, value in ordered)
    return [f"from {module} import {name}", f"optimizer = {name}(model.parameters(){listed})"]


def _literal(value: object) -> str:
    if isinstance(value, float) and 0.5 < value < 1:
        return repr(round(value, 3 - math.floor(math.log10(1 - value))))
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, tuple):
        return f"({', '.join(_literal(entry) for entry in value)})"
    return repr(value)
