"""What a study file may name, as tables for a terminal. Reads the API's JSON only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

_ABSENT = "no worker online has it"


def catalog_view(catalog: Mapping[str, Any]) -> RenderableType:
    """Optimizers with their hyperparameters, workloads with their options, samplers and pruners with theirs."""
    return Group(
        _optimizers(catalog["optimizers"]),
        _workloads(catalog["workloads"]),
        _searchers("sampler", catalog["samplers"]),
        _searchers("pruner", catalog["pruners"]),
    )


def _table(*columns: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _name(entry: Mapping[str, Any]) -> Text:
    name = Text(str(entry["name"]), style="bold")
    return name if entry.get("is_available", True) else name + Text(f"\n{_ABSENT}", style="dim yellow")


def _optimizers(entries: Sequence[Mapping[str, Any]]) -> Table:
    table = _table("optimizer", "searched by default", "else fixed at", "may also be set")
    for entry in entries:
        space = entry["default_space"]
        searched = [f"{name} {_range(value)}" for name, value in space.items() if isinstance(value, Mapping)]
        fixed = [f"{name} {_value(value)}" for name, value in space.items() if not isinstance(value, Mapping)]
        others = [one["name"] for one in entry["hyperparameters"] if one["name"] not in space]
        table.add_row(_name(entry), "\n".join(searched) or "–", "\n".join(fixed) or "–", ", ".join(others) or "–")
    return table


def _workloads(entries: Sequence[Mapping[str, Any]]) -> Table:
    table = _table("workload", "what", "endpoint", "devices", "options and their defaults")
    for entry in entries:
        devices = ", ".join(entry["device_classes"])
        table.add_row(_name(entry), entry["title"], entry["endpoint"], devices, _options(entry["options"]))
    return table


def _searchers(kind: str, entries: Sequence[Mapping[str, Any]]) -> Table:
    table = _table(kind, "options and their defaults")
    for entry in entries:
        table.add_row(_name(entry), _options(entry["options"]))
    return table


def _options(options: Iterable[Mapping[str, Any]]) -> str:
    return ", ".join(f"{one['name']} {_value(one['default'])}" for one in options) or "–"


def _range(dimension: Mapping[str, Any]) -> str:
    ((scale, ends),) = dimension.items()
    listed = [_value(end) for end in ends]
    return f"one of {', '.join(listed)}" if scale == "choice" else f"{' to '.join(listed)} ({scale})"


def _value(value: Any) -> str:
    if value is None:
        return "(none)"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
