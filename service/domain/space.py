"""Search spaces as data: a dimension turns a uniform number into a value."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

Value = float | int | str | bool


class Scale(StrEnum):
    """How a dimension spreads its values."""

    LOG = "log"
    UNIFORM = "uniform"
    INT = "int"
    CHOICE = "choice"


@dataclass(frozen=True)
class Dimension:
    """One searched hyperparameter.

    Attributes:
        scale: LOG and UNIFORM are continuous, INT has both ends included, CHOICE has `choices`.
        low: Lower end; above 0 for LOG. Unused for CHOICE.
        high: Upper end; above `low`. Unused for CHOICE.
        choices: The values of a CHOICE, in the order in which they were written.
    """

    scale: Scale
    low: float = 0.0
    high: float = 1.0
    choices: tuple[Value, ...] = ()

    def at(self, u: float) -> Value:
        """The value at quantile `u` of the dimension, 0 <= u < 1; never outside the ends, as exp(log(low)) may be."""
        if self.scale is Scale.CHOICE:
            return self.choices[int(u * len(self.choices))]
        if self.scale is Scale.INT:
            return int(self.low) + int(u * (int(self.high) - int(self.low) + 1))
        if self.scale is Scale.UNIFORM:
            value = (1 - u) * self.low + u * self.high
        else:
            value = math.exp(math.log(self.low) + u * (math.log(self.high) - math.log(self.low)))
        return min(max(value, self.low), self.high)

    def problems(self) -> list[str]:
        """What is wrong with the range, in sentences; empty where it is sound."""
        if self.scale is Scale.CHOICE:
            return self._choice_problems()
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            return [f"the ends must be finite, got [{self.low}, {self.high}]"]
        if self.scale is Scale.LOG and self.low <= 0:
            return [f"a log range needs ends above 0, got [{self.low}, {self.high}]"]
        if self.scale is Scale.INT and not (float(self.low).is_integer() and float(self.high).is_integer()):
            return [f"an int range needs whole ends, got [{self.low}, {self.high}]"]
        if self.low >= self.high:
            return [f"the lower end must be below the upper end, got [{self.low}, {self.high}]"]
        return []

    def _choice_problems(self) -> list[str]:
        if not self.choices:
            return ["choice needs at least one value"]
        doubled = [value for i, value in enumerate(self.choices) if value in self.choices[:i]]
        return [f"choice has {value!r} twice; each value is as likely as the others" for value in doubled[:1]]

    def to_dict(self) -> dict[str, Any]:
        """The form of the study file: `{"log": [low, high]}` or `{"choice": [...]}`."""
        if self.scale is Scale.CHOICE:
            return {"choice": list(self.choices)}
        ends = [int(self.low), int(self.high)] if self.scale is Scale.INT else [self.low, self.high]
        return {self.scale.value: ends}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Dimension:
        """Read the study file's form.

        Raises:
            ValueError: Not exactly one known scale, or not two numbers.
        """
        if len(data) != 1 or (key := next(iter(data))) not in set(Scale):
            known = ", ".join(Scale)
            raise ValueError(f"a range is {{scale: [low, high]}} with one scale of {known}; got {dict(data)}")
        values = data[key]
        if not isinstance(values, (list, tuple)):
            raise ValueError(f"{key} takes a list, got {values!r}")
        if key == Scale.CHOICE:
            return cls(Scale.CHOICE, choices=tuple(values))
        if len(values) != 2 or not all(_is_number(value) for value in values):
            raise ValueError(f"{key} takes two numbers [low, high], got {list(values)}")
        try:
            return cls(Scale(key), float(values[0]), float(values[1]))
        except OverflowError:
            raise ValueError(f"{key} takes numbers that fit into 64 bits") from None


def log(low: float, high: float) -> Dimension:
    """A log-uniform dimension."""
    return Dimension(Scale.LOG, low, high)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


Space = Mapping[str, Dimension | Value]
"""Hyperparameter name to a searched dimension, or to the value at which it is fixed."""


def searched(space: Space) -> dict[str, Dimension]:
    """The dimensions of a space that are searched, by name."""
    return {name: entry for name, entry in space.items() if isinstance(entry, Dimension)}


def fixed(space: Space) -> dict[str, Value]:
    """The hyperparameters of a space that are fixed."""
    return {name: entry for name, entry in space.items() if not isinstance(entry, Dimension)}


def space_to_dict(space: Space) -> dict[str, Any]:
    """JSON form of a space."""
    return {k: v.to_dict() if isinstance(v, Dimension) else v for k, v in sorted(space.items())}


def space_from_dict(data: Mapping[str, Any]) -> dict[str, Dimension | Value]:
    """Read the JSON form of a space; raises ValueError as `Dimension.from_dict` does."""
    return {k: Dimension.from_dict(v) if isinstance(v, Mapping) else v for k, v in data.items()}
