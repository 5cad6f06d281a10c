"""The grid of a grid search: values for each dimension, their product, and an order that a seed decides."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from service.domain.seeds import draw
from service.domain.space import Dimension, Scale, Value

MAX_POINTS = 100_000
"""Most configurations of a grid: the longest search that a study file may ask for."""


def grid_axes(options: Mapping[str, Any], dimensions: Mapping[str, Dimension]) -> dict[str, tuple[Value, ...]]:
    """The values of each dimension, by name in sorted order: the listed ones, else evenly spaced ones.

    Args:
        options: {"grid": {name: values}, "points": n}; a dimension that `grid` does not name gets `points` values from
            end to end on its own scale, a choice all of its values, an int range at most its whole numbers.
        dimensions: An arm's searched dimensions.

    Raises:
        ValueError: A dimension has neither.
    """
    listed: Mapping[str, Sequence[Value]] = options.get("grid") or {}
    axes: dict[str, tuple[Value, ...]] = {}
    for name, dimension in sorted(dimensions.items()):
        if name in listed:
            axes[name] = tuple(_typed(dimension, value) for value in listed[name])
        elif dimension.scale is Scale.CHOICE:
            axes[name] = dimension.choices
        elif options.get("points") is None:
            raise ValueError(f"the grid has no values for {name}; list them in grid, or give points")
        else:
            axes[name] = _spaced(dimension, int(options["points"]))
    return axes


def _typed(dimension: Dimension, value: Value) -> Value:
    """A listed number as the dimension's own kind: YAML's 1 is 1.0 in a continuous range."""
    if dimension.scale is Scale.CHOICE or isinstance(value, (bool, str)):
        return value
    is_whole = dimension.scale is Scale.INT and float(value).is_integer()
    return int(value) if is_whole else float(value)


def _spaced(dimension: Dimension, n_points: int) -> tuple[Value, ...]:
    """Values from end to end, both exact; the middle where there is only one."""
    shares = [i / (n_points - 1) for i in range(n_points)] if n_points > 1 else [0.5]
    if dimension.scale is not Scale.INT:
        ends = {0.0: dimension.low, 1.0: dimension.high}
        return tuple(ends[share] if share in ends else dimension.at(share) for share in shares)
    width = dimension.high - dimension.low
    return tuple(sorted({int(dimension.low) + math.floor(share * width + 0.5) for share in shares}))


def n_grid_points(axes: Mapping[str, Sequence[Value]]) -> int:
    """How many configurations the product of the axes has; 1 where nothing is searched."""
    return math.prod(len(values) for values in axes.values())


def grid_point(axes: Mapping[str, Sequence[Value]], index: int) -> dict[str, Value]:
    """The configuration of that index, 0 <= index < n_grid_points(axes); the last axis turns fastest."""
    point: dict[str, Value] = {}
    for name, values in reversed(list(axes.items())):
        index, place = divmod(index, len(values))
        point[name] = values[place]
    return dict(reversed(point.items()))


def grid_order(spec_seed: int, replicate: int, n_points: int) -> list[int]:
    """The indices of a grid in the order in which they are run; the same for every arm with as many points."""
    return sorted(range(n_points), key=lambda index: (draw(spec_seed, replicate, index, "grid order"), index))


def check_grid(
    options: Mapping[str, Any], arms: Mapping[str, Mapping[str, Dimension]], n_trials: int
) -> Iterable[tuple[str, str]]:
    """What keeps a grid search of `n_trials` from running, as (option, message); `options` are sound in themselves.

    Args:
        arms: The searched dimensions of each arm, by the arm's name.
    """
    searched = {name for dimensions in arms.values() for name in dimensions}
    for name in sorted(set(options.get("grid") or {}) - searched):
        yield f"grid.{name}", f"no arm searches {name}; the arms search {', '.join(sorted(searched)) or 'nothing'}"
    for arm, dimensions in arms.items():
        try:
            axes = grid_axes(options, dimensions)
        except ValueError as error:
            yield "grid", f"arm {arm}: {error}"
            continue
        yield from _check_values(arm, axes, dimensions)
        yield from _check_size(arm, n_grid_points(axes), n_trials)


def _check_values(
    arm: str, axes: Mapping[str, Sequence[Value]], dimensions: Mapping[str, Dimension]
) -> Iterable[tuple[str, str]]:
    for name, values in axes.items():
        for value in values:
            if not _contains(dimensions[name], value):
                yield f"grid.{name}", f"{value!r} is outside arm {arm}'s range {dimensions[name].to_dict()}"


def _check_size(arm: str, n_points: int, n_trials: int) -> Iterable[tuple[str, str]]:
    if n_points > MAX_POINTS:
        yield "points", f"arm {arm}'s grid has {n_points:,} points; the most is {MAX_POINTS:,}; list fewer values"
    elif n_trials > n_points:
        rule = f"arm {arm}'s grid has {n_points} points, fewer than search.trials ({n_trials})"
        yield "points", f"{rule}; set search.trials to at most {n_points}, or give more points"


def _contains(dimension: Dimension, value: Value) -> bool:
    if dimension.scale is Scale.CHOICE:
        return any(value == choice and type(value) is type(choice) for choice in dimension.choices)
    if isinstance(value, (bool, str)):
        return False
    is_whole = dimension.scale is not Scale.INT or float(value).is_integer()
    return is_whole and dimension.low <= value <= dimension.high
