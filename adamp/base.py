"""What the optimizers share: validation, gathering, checkpoints and diagnostics."""

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator
from threading import RLock
from typing import Any, ClassVar, overload

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import StateDict

from adamp import checkpoints
from adamp.checks import check_gradients, check_hyperparameters, check_names, check_parameters, is_missing
from adamp.diagnostics import ParameterDiagnostics, StepRecord, new_record, read_record
from adamp.dispatch import choose_path
from adamp.functional import arithmetic_dtype, has_values
from adamp.hooks import with_hooks_when_heard
from adamp.native import Columns, Hyper, Plan
from adamp.repetition import Answer, Repetition, Stepped, interpreter

_Work = tuple[list[Tensor], list[Tensor]]  # parameters and their gradients

EXECUTION: dict[str, Any] = {"fused": None, "capturable": False, "differentiable": False, "deterministic": False}
"""Arguments that say how a step is computed and not what, with their defaults."""


class TangentOptimizer(Optimizer):
    """Base of AdamP, SGDP and SGDW; a subclass names its hyperparameters and computes one group's step."""

    hyperparameters: ClassVar[tuple[str, ...]]
    state_names: ClassVar[tuple[str, ...]]  # in the order of `Columns`

    # Diagnostics lie outside `state`: a checkpoint then holds what the next step depends on and nothing else,
    # and stays exchangeable with torch.optim's. Copies and unpickled optimizers start with none.
    _records: dict[Tensor, StepRecord]

    # Tables of the faster paths, by group, device and `fused`; None where plain torch steps. They are built when
    # needed, and what they hold has no influence on results.
    _plans: dict[tuple[int, str, bool | None], Plan | None]

    # The last step, if it was native throughout and can be repeated.
    _last: Repetition | None

    _turn: RLock

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        self._records, self._plans, self._last, self._turn = {}, {}, None, RLock()
        given = {name: value for name, value in defaults.items() if not is_missing(value)}
        check_hyperparameters(type(self).__name__, given)
        super().__init__(params, defaults)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.__dict__.setdefault("_records", {})
        self._plans, self._last, self._turn = {}, None, RLock()
        for group in self.param_groups:
            for name in self.hyperparameters:
                group.setdefault(name, self.defaults.get(name, EXECUTION.get(name)))

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, as in `torch.optim.Optimizer`, after checking its hyperparameters and tensors.

        Raises:
            ValueError: A hyperparameter or a parameter is refused; the optimizer is unchanged.
            RuntimeError: `fused=True` or `ADAMP_PATH` asks for a path that is not available; likewise.
        """
        name = type(self).__name__
        if isinstance(param_group, dict):
            check_names(name, param_group, self.hyperparameters)
            check_hyperparameters(name, {**self.defaults, **param_group})
        super().add_param_group(param_group)
        self._last = None
        try:
            check_parameters(name, param_group["params"], param_group.get("channel_dim"))
            for device in {param.device.type for param in param_group["params"]}:
                choose_path(device, param_group["fused"])
        except (ValueError, RuntimeError):
            self.param_groups.pop()
            raise

    def load_state_dict(self, state_dict: StateDict) -> None:
        """Load a state of this class, of its torch.optim sibling, or of the authors' package.

        Hyperparameters that the loaded groups lack keep this optimizer's defaults. The loaded tensors are
        copied, and moments of 16-bit weights stay float32; torch would share the ones and round the others.
        """
        checkpoints.load(self, state_dict, super().load_state_dict)

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @with_hooks_when_heard
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Perform one optimization step.

        Args:
            closure: Reevaluates the model with gradients enabled and returns the loss.

        Returns:
            What `closure` returned, or None.

        Raises:
            RuntimeError: A gradient is sparse or complex; no parameter and no state was changed.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if torch.compiler.is_compiling():
            self._update()
            return loss
        with self._turn:  # the tables are those of one step, and C gives the interpreter's lock away
            self._update()
        return loss

    def diagnostics(self) -> dict[tuple[int, int], ParameterDiagnostics]:
        """What the last step did, and counts since `reset_diagnostics()`, for every parameter that took a step.

        Waits for the device; a step does not. Not part of `state_dict()`: see the class's comment.

        Returns:
            The key is (index of the group, index of the parameter in its group).
        """
        return {
            place: read_record(self._records[param], param, self._own_settings(self.param_groups[place[0]]))
            for place, param in self._parameters()
            if param in self._records
        }

    def reset_diagnostics(self) -> None:
        """Set the counts to zero; the last step's values stay until the next step."""
        for record in self._records.values():
            record.counts.zero_()

    @abstractmethod
    def _columns(self, params: list[Tensor], group: dict[str, Any]) -> Columns:
        """The state of `params`, created where it is missing."""

    @abstractmethod
    def _hyper(self, group: dict[str, Any]) -> Hyper:
        """The hyperparameters of `group` for the native step."""

    @abstractmethod
    def _step_plain(
        self,
        group: dict[str, Any],
        params: list[Tensor],
        grads: list[Tensor],
        state: Columns,
        records: list[StepRecord],
    ) -> None:
        """Update `params`, all of `group`, in plain torch."""

    def _update(self) -> None:
        if not self._repeat():
            with torch.no_grad():
                self._step_anew([_with_gradients(group["params"]) for group in self.param_groups])

    def _repeat(self) -> bool:
        """Step natively what the last step did, if all that its tables rest on still holds; else change nothing."""
        last = self._last
        if last is None or torch.compiler.is_compiling():
            return False
        if not last.is_fixed and not self._read_settings(last):
            return False
        answer = last.step(self.param_groups, self.state)
        if answer == Answer.OTHER_SETTINGS and self._read_settings(last):
            answer = last.step(self.param_groups, self.state)
        return answer == Answer.STEPPED

    def _read_settings(self, last: Repetition) -> bool:
        """Let `last` step with the present hyperparameters; False if it cannot."""
        rules = [self._rule(group) for group in self.param_groups]
        hypers = [self._read_hyper(group) for group in self.param_groups]
        return rules == last.rules and last.take_settings(self.param_groups, hypers)

    def _rule(self, group: dict[str, Any]) -> tuple[object, ...]:
        """What a group's table rests on besides its tensors."""
        return group["fused"], self._channel_dim(group), self._state_keys(group)

    def _own_settings(self, group: dict[str, Any]) -> dict[str, Any]:
        return {name: group[name] for name in self.hyperparameters if name in group}

    def _channel_dim(self, group: dict[str, Any]) -> int | None:
        """None where projection is never considered, though a group loaded from another optimizer may name one."""
        return group["channel_dim"] if "channel_dim" in self.hyperparameters else None

    def _note(self, work: list[_Work]) -> None:
        """Let the next step repeat this one, where it was native."""
        steps: list[Stepped] = []
        for index, (group, (params, _)) in enumerate(zip(self.param_groups, work, strict=True)):
            plan = self._plans.get((index, "cpu", group["fused"])) if params else None
            if params and (plan is None or len(plan.rows) < len(params)):
                return
            steps.append(Stepped(group, plan, self._read_hyper(group), self._rule(group)))
        are_dicts = all(isinstance(entries, dict) for entries in self.state.values())
        if are_dicts and any(step.plan for step in steps) and (known := interpreter()):
            last = Repetition(steps, self.state, self.hyperparameters, known)
            self._last = last if last.holds else None

    def _step_anew(self, work: list[_Work]) -> None:
        if not torch.compiler.is_compiling():
            self._last = None  # also where this step fails: its tables are those that the last one left
        for params, grads in work:
            check_gradients(type(self).__name__, params, grads)
        for index, (group, (params, grads)) in enumerate(zip(self.param_groups, work, strict=True)):
            self._step_group(index, group, params, grads)
        if not torch.compiler.is_compiling():
            self._note(work)

    def _step_group(self, index: int, group: dict[str, Any], params: list[Tensor], grads: list[Tensor]) -> None:
        """Update `params`, all of `group`, by the fastest path that takes each."""
        state = self._columns(params, group)
        plan = self._plan(index, group, params)
        if plan is not None:
            left = plan.step(params, grads, state, self._record, self._read_hyper(group), self._channel_dim(group))
            if not left:
                return
            params, grads = [params[i] for i in left], [grads[i] for i in left]
            state = Columns(*([column[i] for i in left] if column else column for column in state))
        self._step_plain(group, params, grads, state, [self._record(param) for param in params])

    def _state_keys(self, group: dict[str, Any]) -> tuple[str, ...]:
        return () if group.get("momentum") == 0 else self.state_names

    def _read_hyper(self, group: dict[str, Any]) -> Hyper:
        """The hyperparameters of `group`, without waiting for a learning rate on the GPU of all parameters."""
        lr = group["lr"]
        is_here = not isinstance(lr, Tensor) or lr.device.type == "cpu"
        if is_here or any(param.device.type == "cpu" for param in group["params"]):
            return self._hyper(group)
        hyper = self._hyper({**group, "lr": math.nan})
        hyper.lr_tensor = lr
        return hyper

    def _plan(self, index: int, group: dict[str, Any], params: list[Tensor]) -> Plan | None:
        """The table of the group's path; a group whose parameters lie on several devices goes by its first's."""
        if not params or torch.compiler.is_compiling() or not has_values(params[0]):
            return None
        key = (index, params[0].device.type, group["fused"])
        if key not in self._plans:
            path = choose_path(*key[1:])
            self._plans[key] = path.make_plan() if path else None
        return self._plans[key]

    def _parameters(self) -> Iterator[tuple[tuple[int, int], Tensor]]:
        for i, group in enumerate(self.param_groups):
            for j, param in enumerate(group["params"]):
                yield (i, j), param

    def _record(self, param: Tensor) -> StepRecord:
        dtype = arithmetic_dtype(param.dtype)
        record = self._records.get(param) or new_record(param, dtype)
        if record.stats.dtype != dtype or record.stats.device != param.device:  # after model.double(), say
            record = StepRecord(record.stats.to(param.device, dtype), record.counts.to(param.device))
        self._records[param] = record
        return record


def _with_gradients(params: list[Tensor]) -> _Work:
    """The parameters that have a gradient, and these."""
    grads = [param.grad for param in params]
    if type(None) in map(type, grads):
        params = [param for param, grad in zip(params, grads, strict=True) if grad is not None]
    return params, [grad for grad in grads if grad is not None]
