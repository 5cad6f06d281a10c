"""Which optimizers a call checks: configured ones by name or class, or one without configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from workers.check.config import CheckConfig, make_config
from workers.check.errors import UsageError

_CLASS = re.compile(r"^[A-Za-z_]\w*(\.\w+)*[.:][A-Za-z_]\w*$")


def select_configs(
    configs: Mapping[str, CheckConfig], folder: Path, *, name: str | None, optimizer: str | None
) -> list[CheckConfig]:
    """The configurations to check, in their order.

    Args:
        configs: All that pyproject.toml has.
        folder: Where we stand, for an optimizer without configuration.
        name: One of them.
        optimizer: "package.Class" or "package:Class"; takes the configuration of that class, else defaults.

    Raises:
        UsageError: There is no such configuration, or nothing says what to check.
    """
    if name is not None:
        return [_named(configs, name, optimizer)]
    if optimizer is not None:
        wanted = class_name(optimizer)
        return [config for config in configs.values() if config.optimizer == wanted] or [_plain(wanted, folder)]
    if not configs:
        raise UsageError(
            "nothing says which optimizer to check: name it with --optimizer package.Class, "
            "or write [tool.tangent.check.NAME] with `optimizer` into pyproject.toml"
        )
    return list(configs.values())


def class_name(text: str) -> str:
    """ "package.module.Class" or "package.module:Class" in the second form; raises UsageError for anything else."""
    if not _CLASS.match(text):
        raise UsageError(f"--optimizer must have the form package.Class, got '{text}'")
    if ":" in text:
        return text
    module, _, attribute = text.rpartition(".")
    return f"{module}:{attribute}"


def _named(configs: Mapping[str, CheckConfig], name: str, optimizer: str | None) -> CheckConfig:
    if name not in configs:
        listed = ", ".join(configs) or "none"
        raise UsageError(f"pyproject.toml has no [tool.tangent.check.{name}]; it has {listed}")
    found = configs[name]
    if optimizer is not None and class_name(optimizer) != found.optimizer:
        raise UsageError(f"--config {name} is of {found.optimizer}, --optimizer says {optimizer}; give one of them")
    return found


def _plain(optimizer: str, folder: Path) -> CheckConfig:
    return make_config(optimizer.rpartition(":")[2].lower(), {"optimizer": optimizer}, folder)
