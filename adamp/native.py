"""The native step on a CPU: loads the library, keeps a table of pointers per parameter group, and calls it once."""

import ctypes
import platform
import weakref
from array import array
from collections.abc import Callable
from ctypes import POINTER, c_double, c_int, c_int32, c_int64, c_void_p
from functools import cache
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from adamp import building
from adamp.diagnostics import StepRecord
from adamp.functional import arithmetic_dtype
from adamp.layouts import MemoryOrder, is_same_layout, memory_order
from adamp.projection import can_be_projected

_ABI = 3
_DTYPES = {torch.float32: 0, torch.float64: 1, torch.bfloat16: 2, torch.float16: 3}
_INSTRUCTION_SETS = {"AVX2": 1, "AVX512": 2}
_PLAIN_TYPES = (Tensor, torch.nn.Parameter)
_POINTER_OF, _DTYPE_OF, _SHAPE_OF = Tensor.data_ptr, attrgetter("dtype"), attrgetter("shape")
_LOOKS: tuple[Callable[[Tensor], object], ...] = (id, type, attrgetter("dtype", "device", "shape"), Tensor.stride)


class Columns(NamedTuple):
    """The state of a group's parameters, one list per kind, empty where the optimizer has none.

    Attributes:
        first: exp_avg or momentum_buffer.
        second: exp_avg_sq.
        step: Steps taken.
    """

    first: list[Tensor]
    second: list[Tensor]
    step: list[Tensor]


class Hyper(ctypes.Structure):
    """The group's hyperparameters; `struct hyper` in csrc/engine.h."""

    lr_tensor: Tensor | None = None  # a learning rate on a GPU, read there instead of `lr`

    _fields_ = [
        *((name, c_double) for name in ("lr", "beta1", "beta2", "eps", "weight_decay", "delta", "wd_ratio")),
        ("momentum", c_double),
        ("dampening", c_double),
        *((name, c_int32) for name in ("is_adam", "nesterov", "maximize", "guesses")),
    ]


class _Row(ctypes.Structure):
    """One parameter; `struct tensor` in csrc/engine.h."""

    _fields_ = [
        *((name, c_void_p) for name in ("weight", "grad", "first", "second", "step", "stats", "counts")),
        *((name, c_int64) for name in ("outer", "channels", "inner")),
        *((name, c_int32) for name in ("dtype", "is_considered", "guess", "strikes", "cooldown", "decision")),
    ]


@cache
def library() -> ctypes.CDLL | str:
    """The library, compiled first if need be, or why there is none."""
    try:
        path = Path(__file__).with_name(building.library_name())
        handle = ctypes.CDLL(str(path if path.exists() else building.cached_library()))
    except (building.BuildError, OSError) as error:
        return str(error)
    if handle.adamp_abi() != _ABI or handle.adamp_tensor_bytes() != ctypes.sizeof(_Row):
        return "the library is of another version"
    handle.adamp_context_new.restype = c_void_p
    handle.adamp_context_free.argtypes = [c_void_p]
    handle.adamp_context_bytes.argtypes = [c_void_p]
    handle.adamp_context_bytes.restype = c_int64
    handle.adamp_step.argtypes = [c_void_p, POINTER(_Row), c_int64, c_void_p, POINTER(Hyper), c_int, c_int, c_void_p]
    return handle


def why_not() -> str | None:
    """None if the native step can run here, else the reason."""
    found = library()
    return found if isinstance(found, str) else None


@cache
def instruction_set() -> int:
    """What torch itself dispatches to: 0 generic (with NEON on ARM), 1 AVX2, 2 AVX-512."""
    return _INSTRUCTION_SETS.get(torch.backends.cpu.get_cpu_capability(), 0) if platform.machine() != "arm64" else 0


@cache
def parallel_function() -> int | None:
    """Address of the OpenMP runtime's entry that torch has loaded; None if there is none, then threads are our own."""
    candidates = [None, *map(str, (Path(torch.__file__).parent / "lib").glob("libgomp*"))]
    for name in candidates:
        try:
            return ctypes.cast(ctypes.CDLL(name).GOMP_parallel, c_void_p).value
        except (AttributeError, OSError):
            continue
    return None


def describe() -> str:
    """The instruction set and the threads that it runs with, in words."""
    names = {1: "AVX2", 2: "AVX-512"}
    threads = "OpenMP's threads" if parallel_function() else "threads of its own"
    return f"{names.get(instruction_set(), platform.machine())}, {threads}"


class Plan:
    """The table of one parameter group, kept between its steps.

    Whether it still holds is seen from lists that `map` fills in C; `Repetition` sees it in one call where it can.

    Attributes:
        path: The library.
        context: Its memory for the group.
        rows: One per parameter that was stepped natively, in their order.
    """

    def __init__(self) -> None:
        found = library()
        if isinstance(found, str):
            raise RuntimeError(found)
        self._library, self.path = found, found._name
        self.context = found.adamp_context_new()
        weakref.finalize(self, found.adamp_context_free, self.context)
        self._seen: tuple[object, ...] = ()
        self._taken: list[int] = []
        self._records: list[StepRecord] = []
        self._dtypes: list[torch.dtype] = []
        self._strides: list[tuple[int, ...]] = []
        self._shapes: list[torch.Size] = []
        self.rows: Any = (_Row * 0)()

    @property
    def n_bytes(self) -> int:
        """Memory that is kept for this group between steps, besides Python's objects."""
        return int(self._library.adamp_context_bytes(self.context)) + ctypes.sizeof(self.rows)

    def step(
        self,
        params: list[Tensor],
        grads: list[Tensor],
        state: Columns,
        record_of: Callable[[Tensor], StepRecord],
        hyper: Hyper,
        channel_dim: int | None,
    ) -> list[int]:
        """Step, in one call, the parameters that the native step can take.

        Args:
            params: Weights; modified in place, and so are state and records.
            grads: Their gradients, dense and real; not modified.
            state: Their state.
            record_of: Gives a parameter's diagnostics, the same ones every time.
            hyper: The group's hyperparameters.
            channel_dim: None where projection is never considered.

        Returns:
            Places of the parameters that are left for the plain path.
        """
        seen = _signature(params, state, channel_dim)
        if seen != self._seen:
            self._seen = ()  # a table that was left half built is never taken for one that holds
            self._rebuild(params, state, record_of, channel_dim)
            self._seen = seen
        left: list[int] = []
        if len(self._taken) < len(params):
            left = sorted(set(range(len(params))) - set(self._taken))
            params, grads = [params[i] for i in self._taken], [grads[i] for i in self._taken]
            state = Columns(*([column[i] for i in self._taken] if column else column for column in state))
        if not params:
            return left
        if not self._takes(grads):
            return list(range(len(left) + len(params)))
        self._call(params, self._laid_out(params, grads), state, hyper)
        return left

    def _takes(self, grads: list[Tensor]) -> bool:
        """Whether all are of a plain type, their weights' dtype and shape, and not without memory, as torch's zeros."""
        return (
            list(map(type, grads)) == [Tensor] * len(grads)
            and list(map(_DTYPE_OF, grads)) == self._dtypes
            and list(map(_SHAPE_OF, grads)) == self._shapes
            and all(grad.data_ptr() or grad.numel() == 0 for grad in grads)
        )

    def _call(self, params: list[Tensor], grads: list[Tensor], state: Columns, hyper: Hyper) -> None:
        n = len(params)
        columns = [list(map(_POINTER_OF, column)) or [0] * n for column in (params, grads, *state)]
        pointers = array("Q", chain.from_iterable(columns))
        status = self._library.adamp_step(
            self.context,
            self.rows,
            n,
            pointers.buffer_info()[0],
            hyper,
            torch.get_num_threads(),
            instruction_set(),
            parallel_function(),
        )
        if status:
            raise MemoryError("adamp: no memory for the native step; no parameter was changed")
        # As every operator of torch does that writes: autograd then notices a weight changed between two passes.
        torch.autograd.graph.increment_version(params)

    def _laid_out(self, params: list[Tensor], grads: list[Tensor]) -> list[Tensor]:
        """The gradients, those that lie otherwise than their parameters copied."""
        if list(map(Tensor.stride, grads)) == self._strides and not any(map(Tensor.is_neg, grads)):
            return grads
        return [_like(param, grad) for param, grad in zip(params, grads, strict=True)]

    def _rebuild(
        self, params: list[Tensor], state: Columns, record_of: Callable[[Tensor], StepRecord], channel_dim: int | None
    ) -> None:
        rows = [[column[i] for column in state if column] for i in range(len(params))]
        self._taken = [i for i, param in enumerate(params) if _is_supported(param, rows[i])]
        if _overlap([params[i] for i in self._taken]):
            self._taken = []
        taken = [params[i] for i in self._taken]
        self._records = [record_of(param) for param in taken]
        self._dtypes, self._strides = [p.dtype for p in taken], [p.stride() for p in taken]
        self._shapes = [p.shape for p in taken]
        self.rows = (_Row * len(taken))()
        for row, param, record in zip(self.rows, taken, self._records, strict=True):
            _describe(row, param, record, channel_dim)


def _signature(params: list[Tensor], state: Columns, channel_dim: int | None) -> tuple[object, ...]:
    """What must be equal for the table to hold: the tensors, how they lie, and where the weights do.

    To know the tensors is not enough: `tensor.data = ...` gives one another dtype, shape and order in memory, and an
    object that was freed leaves its `id` to another.
    """
    columns = [column for column in (params, *state) if column]
    looks = (list(map(look, column)) for column in columns for look in _LOOKS)
    return channel_dim, list(map(_POINTER_OF, params)), *looks


def _is_supported(param: Tensor, state: list[Tensor]) -> bool:
    """A dense CPU tensor of a plain type whose state lies as it does; steps count in float32."""
    tensors = [param, *state]
    return (
        all(type(t) in _PLAIN_TYPES and t.device.type == "cpu" and not t.is_neg() for t in tensors)
        and param.dtype in _DTYPES
        and memory_order(param.shape, param.stride(), 0) is not None
        and all(t.dtype == arithmetic_dtype(param.dtype) for t in state[:2])
        and all(t.shape == param.shape for t in state[:2])
        and all(is_same_layout(t.shape, t.stride(), param.stride()) for t in state[:2])
        and all(t.numel() == 1 and t.dtype == torch.float32 for t in state[2:])
    )


def _describe(row: Any, param: Tensor, record: StepRecord, channel_dim: int | None) -> None:
    order = memory_order(param.shape, param.stride(), channel_dim or 0)
    row.outer, row.channels, row.inner = order or MemoryOrder(1, 1, 1)
    row.dtype = _DTYPES[param.dtype]
    row.is_considered = channel_dim is not None and can_be_projected(param)
    row.stats, row.counts = record.stats.data_ptr(), record.counts.data_ptr()


def _like(param: Tensor, grad: Tensor) -> Tensor:
    if is_same_layout(param.shape, grad.stride(), param.stride()) and not grad.is_neg():
        return grad
    return torch.empty_like(param).copy_(grad)


def _overlap(params: list[Tensor]) -> bool:
    """Whether two parameters share memory, say views of one tensor: then their order matters."""
    end = 0
    for begin, n_bytes in sorted((p.data_ptr(), p.nbytes) for p in params):
        if n_bytes and begin < end:
            return True
        end = max(end, begin + n_bytes)
    return False
