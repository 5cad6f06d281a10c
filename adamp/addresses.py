"""Whether a group's tensors still lie where they lay at its last step: one call of C instead of passes in Python."""

import ctypes
import sys
from collections.abc import Sequence
from ctypes import POINTER, c_char_p, c_int, c_int64, c_uint32, c_void_p, py_object
from functools import cache
from typing import Any

from torch import Tensor

_DLPACK_MAJOR = 1
_PLAIN = {Tensor}


class _ExchangeTable(ctypes.Structure):
    """The table behind `Tensor.__dlpack_c_exchange_api__`, DLPack 1.3; only `describe` is used."""

    _fields_ = [
        ("major", c_uint32),
        ("minor", c_uint32),
        *((name, c_void_p) for name in ("previous", "allocate", "export", "import_", "describe", "stream")),
    ]


class _Interpreter(ctypes.Structure):
    """`struct interpreter` in csrc/addresses.c."""

    _fields_ = [(name, c_void_p) for name in ("list_item", "dict_item", "describe")]


@cache
def interpreter() -> _Interpreter | None:
    """The functions that C needs, or None where torch (before 2.10) or the interpreter does not have them."""
    capsule = getattr(Tensor, "__dlpack_c_exchange_api__", None)
    if capsule is None or sys.implementation.name != "cpython":
        return None
    api = ctypes.pythonapi
    get_pointer = ctypes.PYFUNCTYPE(c_void_p, py_object, c_char_p)(("PyCapsule_GetPointer", api))
    table = _ExchangeTable.from_address(get_pointer(capsule, b"dlpack_exchange_api"))
    if table.major != _DLPACK_MAJOR or not table.describe:
        return None
    functions = (api.PyList_GetItem, api.PyDict_GetItemWithError)
    return _Interpreter(*(ctypes.cast(function, c_void_p) for function in functions), table.describe)


@cache
def _library(path: str) -> Any:
    """The native library once more, in calls that keep the interpreter's lock."""
    handle = ctypes.PyDLL(path)
    handle.adamp_address_bytes.restype = c_int64
    lists = [c_void_p, c_void_p, c_void_p]
    handle.adamp_remember.argtypes = [POINTER(_Interpreter), c_void_p, c_int64, *lists, c_int]
    handle.adamp_revisit.argtypes = [POINTER(_Interpreter), c_void_p, c_void_p, c_int64, *lists, c_void_p]
    return handle


class Addresses:
    """Where parameters and their states lie, kept from one step to the next.

    Args:
        path: The native library.
        rows: Its table of the group, which `still_hold` fills in.
        params: The parameters of the table, in its order.
        states: Their states; [] where the optimizer has none.
        keys: Names of the states in the order first, second, step.
    """

    def __init__(
        self, path: str, rows: Any, params: list[Tensor], states: list[dict[str, Any]], keys: Sequence[str]
    ) -> None:
        self._library, self._interpreter = _library(path), interpreter()
        self._rows, self._states, self._keys = rows, states, list(keys)
        # The C side compares objects by their addresses: while these lists hold them, none is used again.
        self._held = [params, *([state[key] for state in states] for key in keys)]
        self._table = ctypes.create_string_buffer(len(params) * self._library.adamp_address_bytes())
        self._is_noted = self._interpreter is not None and not self._ask(
            self._library.adamp_remember, self._table, len(params), id(params), id(states), id(self._keys), len(keys)
        )

    @property
    def n_bytes(self) -> int:
        """Memory of the table."""
        return len(self._table)

    def still_hold(self, params: list[Tensor], grads: list[Tensor]) -> bool:
        """Whether `params` and their states are those of the table and lie as they did, and `grads` as `params`.

        Then the rows know all places. False also where this cannot be told.
        """
        if not self._is_noted or len(params) != len(self._held[0]) or {*map(type, grads)} != _PLAIN:
            return False
        if any(map(Tensor.is_neg, grads)):
            return False
        lists = (id(params), id(grads), id(self._states), id(self._keys))
        return not self._ask(self._library.adamp_revisit, self._table, self._rows, len(params), *lists)

    def _ask(self, function: Any, *arguments: Any) -> bool:
        """True where the C side says no, or fails on a tensor without memory of its own, such as a sparse one."""
        try:
            return bool(function(self._interpreter, *arguments))
        except (RuntimeError, BufferError, TypeError):
            return True
