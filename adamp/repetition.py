"""The step of the same tensors as the last one in a single call of C; a small model's would else be mostly Python."""

import ctypes
import sys
from collections.abc import Sequence
from ctypes import (
    POINTER,
    c_char_p,
    c_int,
    c_int32,
    c_int64,
    c_uint8,
    c_uint16,
    c_uint32,
    c_uint64,
    c_void_p,
    py_object,
)
from enum import IntEnum
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from adamp.native import Hyper, Plan, instruction_set, parallel_function

_DLPACK_MAJOR, _ON_CPU, _IS_FLOAT = 1, 1, 2
_FUNCTIONS = (
    *("PyList_Size", "PyList_GetItem", "PyDict_Next", "PyDict_GetItemWithError", "PyObject_GetAttr"),
    *("PyObject_CallOneArg", "PyObject_Type", "Py_DecRef", "PyEval_SaveThread", "PyEval_RestoreThread"),
)
_OBJECTS = (None, True, sys.intern("grad"), Tensor, Tensor.is_neg, torch.autograd.graph.increment_version)
_IMMUTABLE = (float, int, bool, str, type(None))


class Answer(IntEnum):
    """What came of a repetition; but for `STEPPED` and `NO_MEMORY` nothing was changed."""

    STEPPED = 0
    CHANGED = 1
    OTHER_SETTINGS = 2
    NO_MEMORY = 3


class _ExchangeTable(ctypes.Structure):
    """The table behind `Tensor.__dlpack_c_exchange_api__`, DLPack 1.3; only `describe` is used."""

    _fields_ = [
        ("major", c_uint32),
        ("minor", c_uint32),
        *((name, c_void_p) for name in ("previous", "allocate", "export", "import_", "describe", "stream")),
    ]


class _Described(ctypes.Structure):
    """`struct described`: DLPack's DLTensor."""

    _fields_ = [
        ("data", c_void_p),
        *((name, c_int32) for name in ("device_type", "device_id", "n_dims")),
        ("code", c_uint8),
        ("bits", c_uint8),
        ("lanes", c_uint16),
        ("shape", POINTER(c_int64)),
        ("strides", POINTER(c_int64)),
        ("byte_offset", c_uint64),
    ]


class Interpreter(ctypes.Structure):
    """`struct interpreter` in csrc/repetition.c."""

    _fields_ = [
        *((name, c_void_p) for name in (*_FUNCTIONS, "describe")),
        *((f"object_{i}", c_void_p) for i in range(len(_OBJECTS))),
    ]


class _Group(ctypes.Structure):
    """`struct group`."""

    _fields_ = [
        *((name, c_void_p) for name in ("params", "context", "rows", "hyper", "addresses")),
        *((name, c_int64) for name in ("n_params", "n_rows", "n_states")),
    ]


class _Walk(ctypes.Structure):
    """`struct walk`."""

    _fields_ = [("objects", c_void_p), ("room", c_int64)]


class _Repetition(ctypes.Structure):
    """`struct repetition`."""

    _fields_ = [
        ("python", c_void_p),
        ("groups", c_void_p),
        ("n_groups", c_int64),
        ("settings", _Walk),
        ("states", _Walk),
        ("weights", c_void_p),
        ("parallel", c_void_p),
        ("isa", c_int32),
    ]


class Stepped(NamedTuple):
    """What the last step did with one group.

    Attributes:
        group: The optimizer's dict.
        plan: The group's native table; None where no parameter had a gradient.
        hyper: The group's hyperparameters.
        rule: What its table rests on besides tensors; last, the names of the states in the order first, second, step.
    """

    group: dict[str, Any]
    plan: Plan | None
    hyper: Hyper
    rule: tuple[Any, ...]


@cache
def interpreter() -> Interpreter | None:
    """The functions that C needs, or None where torch (before 2.10) or the interpreter does not have them."""
    # Without the interpreter's lock, objects could change between two looks at them.
    has_lock = getattr(sys, "_is_gil_enabled", lambda: True)()
    if sys.implementation.name != "cpython" or not has_lock:
        return None
    try:
        describe = _find_describe()
        functions = [ctypes.cast(ctypes.pythonapi[name], c_void_p) for name in _FUNCTIONS]
    except (AttributeError, ValueError):  # Python 3.10 has some of them in its headers only
        return None
    return Interpreter(*functions, describe, *map(id, _OBJECTS)) if describe and _tells_true(describe) else None


def _find_describe() -> int | None:
    """Address of the function that describes a tensor to C.

    Raises:
        ValueError: There is no table of functions.
    """
    capsule = getattr(Tensor, "__dlpack_c_exchange_api__", None)
    get_pointer = ctypes.PYFUNCTYPE(c_void_p, py_object, c_char_p)(("PyCapsule_GetPointer", ctypes.pythonapi))
    table = _ExchangeTable.from_address(get_pointer(capsule, b"dlpack_exchange_api"))
    return table.describe if table.major == _DLPACK_MAJOR else None


def _tells_true(describe: int) -> bool:
    """Whether the function at `describe` says what torch says; to older torch, other packages add a table of theirs."""
    tensor, told = torch.zeros(4, 3, dtype=torch.float32, device="cpu")[2:].t(), _Described()
    try:
        ctypes.PYFUNCTYPE(c_int, py_object, POINTER(_Described))(describe)(tensor, told)
    except (RuntimeError, BufferError, TypeError, SystemError):
        return False
    kind = (told.device_type, told.n_dims, told.code, told.bits, told.lanes)
    if kind != (_ON_CPU, tensor.ndim, _IS_FLOAT, 32, 1) or (told.data or 0) + told.byte_offset != tensor.data_ptr():
        return False
    return (*told.shape[: tensor.ndim], *told.strides[: tensor.ndim]) == (*tensor.shape, *tensor.stride())


@cache
def _library(path: str) -> Any:
    """The native library once more, in calls that keep the interpreter's lock."""
    handle = ctypes.PyDLL(path)
    handle.adamp_address_bytes.restype = c_int64
    handle.adamp_note_settings.argtypes = [POINTER(_Repetition), py_object]
    handle.adamp_note.argtypes = [POINTER(_Repetition), py_object, py_object]
    handle.adamp_repeat.argtypes = [POINTER(_Repetition), py_object, py_object, c_int]
    return handle


class Repetition:
    """The last step, noted so that the next one can repeat it where all that its tables rest on still holds.

    Args:
        steps: What it did, per group in the optimizer's order.
        state: The optimizer's state.
        names: Names of the hyperparameters.
        known: `interpreter()`.

    Attributes:
        holds: Whether all could be noted; if not, the others mean nothing.
        rules: Those of `steps`.
        is_fixed: Whether the hyperparameters change only where `step` notices it.
    """

    def __init__(
        self,
        steps: Sequence[Stepped],
        state: dict[Tensor, dict[str, Any]],
        names: Sequence[str],
        known: Interpreter,
    ) -> None:
        self.rules, self._names = [step.rule for step in steps], names
        self._library = _library(next(step.plan.path for step in steps if step.plan))
        self._groups, self._addresses = (_Group * len(steps))(), list[Any]()
        # The C side compares objects by their addresses: while these are held, none is used again.
        self._held: list[Any] = [known, list(state.items()), [list(entries.items()) for entries in state.values()]]
        self._held += [[step.plan for step in steps], [list(step.group["params"]) for step in steps]]
        weights = [param for step in steps for param in step.group["params"] if param.grad is not None]
        states = (c_void_p * _n_objects(state.values(), of_each=2))()
        self._held += [weights, states]
        self._told = _Repetition(ctypes.addressof(known), ctypes.addressof(self._groups), len(steps))
        self._told.states = _Walk(ctypes.addressof(states), len(states))
        self._told.weights, self._told.isa, self._told.parallel = id(weights), instruction_set(), parallel_function()
        for row, step in zip(self._groups, steps, strict=True):
            self._lay_out(row, step)
        keys = [list(step.rule[-1]) for step in steps]
        self.holds = self.take_settings([step.group for step in steps], [step.hyper for step in steps])
        self.holds = self.holds and self._ask(self._library.adamp_note, state, keys) == 0

    @property
    def n_bytes(self) -> int:
        """Memory of the tables."""
        walks = (self._told.settings.room + self._told.states.room) * ctypes.sizeof(c_void_p)
        return sum(map(len, self._addresses)) + ctypes.sizeof(self._groups) + int(walks)

    def take_settings(self, groups: list[dict[str, Any]], hypers: Sequence[Hyper]) -> bool:
        """Step with `hypers` as long as `groups` hold the same objects; False if that cannot be noted."""
        walk = (c_void_p * _n_objects(groups, of_each=1))()
        self._settings = [walk, hypers, list(groups), [list(group.items()) for group in groups]]
        self._told.settings = _Walk(ctypes.addressof(walk), len(walk))
        for row, group, hyper in zip(self._groups, groups, hypers, strict=True):
            row.params, row.hyper = id(group["params"]), ctypes.addressof(hyper)
        self.is_fixed = all(_is_fixed(group, self._names) for group in groups)
        return self._ask(self._library.adamp_note_settings, groups) == 0

    def step(self, groups: list[dict[str, Any]], state: dict[Tensor, dict[str, Any]]) -> int:
        """Step once more, if all still holds; an `Answer`.

        Raises:
            MemoryError: No parameter was changed.
        """
        answer = self._ask(self._library.adamp_repeat, groups, state, torch.get_num_threads())
        if answer == Answer.NO_MEMORY:
            raise MemoryError("adamp: no memory for the native step; no parameter was changed")
        return answer

    def _lay_out(self, row: _Group, step: Stepped) -> None:
        n_params = len(step.group["params"])
        addresses = ctypes.create_string_buffer(n_params * self._library.adamp_address_bytes())
        self._addresses.append(addresses)
        row.addresses, row.n_params, row.n_states = ctypes.addressof(addresses), n_params, len(step.rule[-1])
        if step.plan:
            row.context, row.rows, row.n_rows = step.plan.context, ctypes.addressof(step.plan.rows), len(step.plan.rows)

    def _ask(self, function: Any, *arguments: Any) -> int:
        """CHANGED also where the C side fails, as on a tensor without memory of its own, such as a sparse one."""
        try:
            return int(function(self._told, *arguments))
        except (RuntimeError, BufferError, TypeError, SystemError):
            return Answer.CHANGED


def _is_fixed(settings: dict[str, Any], names: Sequence[str]) -> bool:
    """Whether those of `names` can change only by being replaced, unlike a learning rate that is a tensor."""
    values = [settings.get(name) for name in names]
    parts = [part for value in values for part in (value if type(value) is tuple else [value])]
    return all(type(part) in _IMMUTABLE for part in parts)


def _n_objects(dicts: Any, of_each: int) -> int:
    """Room for a walk through `dicts`, in which each adds `of_each` objects, its entries, and itself."""
    return sum(of_each + 2 * len(entries) + 1 for entries in dicts) + 1
