"""The tables of the Triton step for one parameter group, and its three launches."""

import math
from array import array
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from adamp import triton_arithmetic, triton_kernels
from adamp.diagnostics import StepRecord
from adamp.layouts import MemoryOrder, is_same_layout, memory_order
from adamp.native import Columns, Hyper
from adamp.projection import can_be_projected

SEGMENT = 4096  # elements of a row that one program takes
BLOCK = 1024
ROWS = 1024
_ZERO_POWER = -100.0  # log(beta) for beta = 0: exp(-100) is nothing beside 1


@cache
def why_not() -> str | None:
    """None if the Triton step can run here, else the reason."""
    if triton_arithmetic.WHY_NOT is not None:
        return triton_arithmetic.WHY_NOT
    if not torch.cuda.is_available():
        return "torch sees no CUDA device"
    if torch.cuda.get_device_capability() < (7, 0):
        return "Triton needs compute capability 7.0"
    return None


class Plan:
    """The tables of one parameter group, kept between its steps; the contract of `adamp.native.Plan`.

    The device holds 20 bytes per row (per 4096 elements in longer rows) and about 120 per tensor. One plan serves
    one device and one dtype: parameters of others than the first's are left for the plain path, as are float64, empty
    tensors, and tensors that do not lie densely.
    """

    def __init__(self) -> None:
        self._seen: tuple[object, ...] = ()
        self._uploaded: array[int] | None = None
        self._taken: list[int] = []
        self._strides: list[tuple[int, ...]] = []
        self._keep: list[Tensor] = []
        self._records: list[StepRecord] = []
        self._n_programs = 0
        self._spares: list[Tensor] = []
        self._captured: list[Tensor] = []

    @property
    def n_bytes(self) -> int:
        """Memory on the device that this plan keeps."""
        tables = (self._tensors, self._dynamic, self._owners, self._sums, self._modes, self._orders)
        return sum(table.nbytes for table in (*tables, self._coefficients)) if self._n_programs else 0

    def step(
        self,
        params: list[Tensor],
        grads: list[Tensor],
        state: Columns,
        record_of: Callable[[Tensor], StepRecord],
        hyper: Hyper,
        channel_dim: int | None,
    ) -> list[int]:
        """Step, in three launches and without waiting, the parameters that the kernels can take.

        Args:
            params: Weights; modified in place, and so are state and records.
            grads: Their gradients, dense and real; not modified.
            state: Their state; steps on the CPU, or, to be captured in a CUDA graph, on the device.
            record_of: Gives a parameter's diagnostics, the same ones every time.
            hyper: The group's hyperparameters; a learning rate on the device is read there.
            channel_dim: None where projection is never considered.

        Returns:
            Places of the parameters that are left for the plain path.
        """
        seen = _signature(params, state, channel_dim)
        if seen != self._seen:
            self._rebuild(params, state, record_of, channel_dim)
            self._seen = seen
        taken = [i for i in self._taken if type(grads[i]) is Tensor and grads[i].dtype == params[i].dtype]
        if taken != self._taken:
            return list(range(len(params)))
        if taken:
            self._fill(params, grads, state)
            lr = hyper.lr if hyper.lr_tensor is None else hyper.lr_tensor
            with torch.cuda.device(self._tensors.get_device()):  # Triton launches on the present device
                self._launch(params[taken[0]].dtype, bool(state.first), hyper, lr)
            torch.autograd.graph.increment_version([params[i] for i in taken])
        return sorted(set(range(len(params))) - set(taken))

    def _fill(self, params: list[Tensor], grads: list[Tensor], state: Columns) -> None:
        """Bring what changes between steps to the device: the gradients' places, and steps counted on the CPU."""
        laid_out = [_like(params[i], grads[i]) for i in self._taken]
        self._keep = laid_out  # until the next step: copies of gradients must outlive the launches
        times = [_count_step(state.step[i]) if state.step else 0 for i in self._taken]
        pairs = zip((grad.data_ptr() for grad in laid_out), times, strict=True)
        values = array("q", (value for pair in pairs for value in pair))
        if self._dynamic.is_cuda:
            self._upload(values)
        else:
            self._dynamic.copy_(_as_rows(values))

    def _upload(self, values: "array[int]") -> None:
        """Copy without waiting. A captured copy is replayed from the same host memory, which must stay as it is."""
        if torch.cuda.is_current_stream_capturing():
            if any(values[1::2]):
                raise RuntimeError("adamp: a CUDA graph needs steps counted on the device: set capturable=True")
            if not self._spares:
                raise RuntimeError("adamp: take a step outside of the CUDA graph before each capture of one")
            host = self._spares.pop()
            self._captured.append(host.copy_(_as_rows(values)))
        elif values == self._uploaded and not self._captured:
            return
        else:
            host = _as_rows(values).pin_memory()
            # None can be allocated during a capture, so one is always kept ready.
            self._spares = self._spares or [torch.empty_like(host).pin_memory()]
        self._dynamic.copy_(host, non_blocking=True)
        self._uploaded = values

    def _launch(self, dtype: torch.dtype, has_first: bool, hyper: Hyper, lr: float | Tensor) -> None:
        lr_arguments = (0.0, lr) if isinstance(lr, Tensor) else (lr, self._coefficients)
        is_adam, nesterov = bool(hyper.is_adam), bool(hyper.nesterov)
        weight_decay = hyper.weight_decay if is_adam else hyper.weight_decay / (1 - hyper.momentum)
        beta1 = hyper.beta1 if is_adam else hyper.momentum
        add1 = 1 - hyper.beta1 if is_adam else 1 - hyper.dampening
        logs = [math.log(beta) if beta > 0 else _ZERO_POWER for beta in (hyper.beta1, hyper.beta2)]
        sign, nesterov_add = -1.0 if hyper.maximize else 1.0, add1 if is_adam else 1.0
        # Without contraction of products and sums the sweep's w1 and the finish's are equal to the bit.
        common = {
            "HAS_LR_TENSOR": isinstance(lr, Tensor),
            "IS_TWO_STAGE": dtype == torch.float32,
            "enable_fp_fusion": False,
        }
        kinds = {"IS_ADAM": is_adam, "HAS_FIRST": has_first, "NESTEROV": nesterov, "DTYPE": _triton_dtype(dtype)}
        sizes = {"SEGMENT": SEGMENT, "BLOCK": BLOCK}
        triton_kernels.sweep[(self._n_programs,)](
            self._tensors, self._dynamic, self._owners, self._sums, self._modes, *lr_arguments,
            beta1, add1, hyper.beta2, 1 - hyper.beta2, *logs, hyper.eps, weight_decay, sign, nesterov_add,
            **kinds, **common, **sizes,
        )  # fmt: skip
        triton_kernels.decide[(len(self._taken),)](
            self._tensors, self._dynamic, self._sums, self._modes, self._orders, self._coefficients, *lr_arguments,
            weight_decay, hyper.wd_ratio, hyper.delta, hyper.eps, ROWS=ROWS, **common,
        )  # fmt: skip
        triton_kernels.finish[(self._n_programs,)](
            self._tensors, self._dynamic, self._owners, self._sums, self._orders, self._coefficients, *lr_arguments,
            beta1, add1, *logs, hyper.eps, weight_decay, hyper.wd_ratio, sign, nesterov_add,
            **kinds, **common, **sizes,
        )  # fmt: skip

    def _rebuild(
        self, params: list[Tensor], state: Columns, record_of: Callable[[Tensor], StepRecord], channel_dim: int | None
    ) -> None:
        if torch.cuda.is_available() and torch.cuda.is_current_stream_capturing():
            raise RuntimeError("adamp: take a step of these parameters before capturing one in a CUDA graph")
        dtype = next((p.dtype for p in params if p.dtype in _DTYPE_NAMES), torch.float32)
        alike = [i for i, p in enumerate(params) if p.dtype == dtype and p.device == params[0].device]
        self._taken = [i for i in alike if _is_supported(params[i], _row(state, i))]
        taken = [params[i] for i in self._taken]
        if _overlap(taken):
            self._taken, taken = [], []
        self._records = [record_of(param) for param in taken]
        self._uploaded, self._spares = None, []
        if taken:
            rows = [
                _describe(params[i], state, i, record, channel_dim)
                for i, record in zip(self._taken, self._records, strict=True)
            ]
            self._allocate(rows, taken[0].device)

    def _allocate(self, rows: list[list[int]], device: torch.device) -> None:
        n_programs = [row[6] * row[9] for row in rows]
        begin = 0
        for row, n in zip(rows, n_programs, strict=True):
            row[10] = begin
            begin += n
        self._n_programs = begin
        self._tensors = torch.tensor(rows, dtype=torch.int64).to(device)
        owners = torch.arange(len(rows), dtype=torch.int32).repeat_interleave(torch.tensor(n_programs))
        self._owners = owners.to(device)
        self._sums = torch.zeros(begin, 4, dtype=torch.float32, device=device)
        self._dynamic = torch.zeros(len(rows), 2, dtype=torch.int64, device=device)
        self._modes = torch.zeros(len(rows), dtype=torch.int32, device=device)
        self._orders = torch.zeros_like(self._modes)
        self._coefficients = torch.zeros(len(rows), dtype=torch.float32, device=device)


_DTYPE_NAMES = {torch.float32: "float32", torch.bfloat16: "bfloat16", torch.float16: "float16"}


def _as_rows(values: "array[int]") -> Tensor:
    return torch.frombuffer(values, dtype=torch.int64).view(-1, 2)


def _triton_dtype(dtype: torch.dtype) -> Any:
    return getattr(triton_arithmetic.tl, _DTYPE_NAMES[dtype])


def _row(state: Columns, i: int) -> list[Tensor]:
    return [column[i] for column in (state.first, state.second) if column]


def _is_supported(param: Tensor, moments: list[Tensor]) -> bool:
    order = memory_order(param.shape, param.stride(), 0)
    return (
        type(param) in (Tensor, torch.nn.Parameter)
        and param.numel() > 0
        and order is not None
        and all(type(m) is Tensor and m.dtype == torch.float32 and m.device == param.device for m in moments)
        and all(m.shape == param.shape and is_same_layout(m.shape, m.stride(), param.stride()) for m in moments)
    )


def _describe(param: Tensor, state: Columns, i: int, record: StepRecord, channel_dim: int | None) -> list[int]:
    """One row of the table, in the order of `triton_arithmetic.COLUMNS`; `begin` is filled in later."""
    is_considered = channel_dim is not None and can_be_projected(param)
    order = memory_order(param.shape, param.stride(), channel_dim or 0) if is_considered else None
    order = order or MemoryOrder(1, 1, param.numel())
    cols = order.outer * order.inner
    moments = [column[i].data_ptr() if column else 0 for column in (state.first, state.second)]
    step = state.step[i].data_ptr() if state.step and state.step[i].device == param.device else 0
    places = [param.data_ptr(), *moments, step, record.stats.data_ptr(), record.counts.data_ptr()]
    return [*places, order.channels, order.inner, cols, -(-cols // SEGMENT), 0, int(is_considered)]


def _count_step(step: Tensor) -> int:
    """Count a step kept on the CPU and return its number; 0 stands for one kept on the device, counted there."""
    return int(step.add_(1).item()) if step.device.type == "cpu" else 0


def _signature(params: list[Tensor], state: Columns, channel_dim: int | None) -> tuple[object, ...]:
    return (
        channel_dim,
        [(p.data_ptr(), p.dtype, p.shape, p.stride()) for p in params],
        *([t.data_ptr() for t in column] for column in state),
    )


def _like(param: Tensor, grad: Tensor) -> Tensor:
    """The gradient in the parameter's layout."""
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
