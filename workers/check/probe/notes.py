"""What can be observed of an optimizer, as leaves by path: plain values, layouts and numbers of tensors, refusals."""

import dataclasses
import dis
import enum
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Set
from typing import Any

import torch
from torch import Tensor

WITHIN = {"float64": 1e-9, "float32": 1e-4, "bfloat16": 5e-2, "float16": 1e-2}
"""Largest distance of two tensors of floating point, relative to their norm, by dtype; others are equal."""

MEASURED = 1e-5
"""Largest distance of two numbers that were measured, relative to their size or absolute below 1."""

_RAISE = dis.opmap["RAISE_VARARGS"]
_ADDRESS = re.compile(r"0x[0-9a-f]+")


class Notes:
    """Leaves by path: words, {"numbers", "within"}, or {"tensor", "within"}; "... says" is an error's words.

    Attributes:
        floor: Least tolerance of computed numbers: that of the lowest precision which took part in them.
    """

    def __init__(self) -> None:
        self.leaves: dict[str, Any] = {}
        self.floor = 0.0

    def note(self, path: str, value: Any, within: float = 0.0) -> None:
        """Take down a value and what is in it.

        Args:
            path: Unique.
            value: Tensors, mappings, sequences and dataclasses are taken apart; of other objects the type is noted.
            within: Tolerance of numbers; 0 for those that were given and not computed.
        """
        if isinstance(value, Tensor):
            self._tensor(path, value)
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            self._record(path, {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}, within)
        elif isinstance(value, Mapping):
            self._each(path, value, within)
        elif isinstance(value, (list, tuple)):
            self.leaves[f"{path} is"] = f"{type(value).__name__} of {len(value)}"
            for i, entry in enumerate(value):
                self.note(f"{path}[{i}]", entry, within)
        elif isinstance(value, float) and within:
            self.leaves[path] = {"numbers": [value], "within": max(within, self.floor)}
        else:
            self.leaves[path] = _words(value)

    def trial(self, path: str, act: Callable[[], Any], within: float = 0.0) -> None:
        """Take down what `act` returns, or how it refuses."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                value = act()
        except Exception as error:  # noqa: BLE001 — what the side raises is what is observed
            cause = error.__cause__ or error
            if _is_meant(cause):
                self.leaves[f"{path} raises"] = type(cause).__name__
                self.leaves[f"{path} says"] = _without_address(str(cause))[:600]
            else:
                self.leaves[f"{path} raises"] = "by accident"
        else:
            self.note(path, value, within)

    def _record(self, path: str, values: Mapping[str, Any], within: float) -> None:
        """Many values at one path: of a record there is one for each parameter and step."""
        numbers = {key: value for key, value in values.items() if isinstance(value, float)}
        self.leaves[path] = {"numbers": list(numbers.values()), "within": max(within, self.floor)}
        others = (f"{key}={_words(value)}" for key, value in values.items() if key not in numbers)
        self.leaves[f"{path} is"] = ", ".join([*others, *numbers])

    def _each(self, path: str, values: Mapping[Any, Any], within: float) -> None:
        self.leaves[f"{path} has"] = ", ".join(map(str, values))
        for key, entry in values.items():
            self.note(f"{path}.{key}", entry, within)

    def _tensor(self, path: str, value: Tensor) -> None:
        value = value.detach()
        dtype = name_of(value.dtype)
        words = f"{dtype} {tuple(value.shape)} on {value.device.type}"
        if value.layout != torch.strided or value.is_meta:  # which holds no numbers
            self.leaves[path] = f"{words}, {value.layout}"
            return
        self.leaves[f"{path} is"] = f"{words}, strides {value.stride()}"
        numbers = torch.view_as_real(value) if value.is_complex() else value
        self.leaves[path] = {"tensor": numbers.double().reshape(-1), "within": self._within(dtype)}

    def _within(self, dtype: str) -> float:
        return max(WITHIN[dtype], self.floor) if dtype in WITHIN else 0.0


def tolerance(dtypes: Iterable[torch.dtype]) -> float:
    """Of numbers in which tensors of all these took part."""
    return max(WITHIN.get(name_of(dtype), 0.0) for dtype in dtypes)


def name_of(dtype: torch.dtype) -> str:
    """Such as "float32"."""
    return str(dtype).removeprefix("torch.")


def _is_meant(error: BaseException) -> bool:
    """Whether a `raise` of Python raised it: what else goes wrong does so in whatever way the code happens to fail."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    return last is not None and last.tb_frame.f_code.co_code[last.tb_lasti] == _RAISE


def _words(value: Any) -> str:
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, Set):
        return ", ".join(sorted(map(_words, value)))
    plain = value is None or isinstance(value, (bool, int, float, str))
    return f"{value!r} ({type(value).__name__})" if plain else type(value).__name__


def _without_address(text: str) -> str:
    return _ADDRESS.sub("0x", text)
