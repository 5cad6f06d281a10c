"""What the optimizers share: validation, gathering, checkpoints and diagnostics."""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, overload

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import StateDict

from adamp import checkpoints
from adamp.checks import check_gradients, check_hyperparameters, check_names, check_parameters, is_missing
from adamp.diagnostics import ParameterDiagnostics, StepRecord, new_record, read_record
from adamp.functional import arithmetic_dtype


class TangentOptimizer(Optimizer):
    """Base of AdamP, SGDP and SGDW; a subclass names its hyperparameters and computes one group's step."""

    hyperparameters: ClassVar[tuple[str, ...]]

    # Diagnostics lie outside `state`: a checkpoint then holds what the next step depends on and nothing else,
    # and stays exchangeable with torch.optim's. Copies and unpickled optimizers start with none.
    _records: dict[Tensor, StepRecord]

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        self._records = {}
        given = {name: value for name, value in defaults.items() if not is_missing(value)}
        check_hyperparameters(type(self).__name__, given)
        super().__init__(params, defaults)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.__dict__.setdefault("_records", {})
        for group in self.param_groups:
            for name in self.hyperparameters:
                group.setdefault(name, self.defaults[name])

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, as in `torch.optim.Optimizer`, after checking its hyperparameters and tensors.

        Raises:
            ValueError: A hyperparameter or a parameter is refused; the optimizer is unchanged.
        """
        name = type(self).__name__
        if isinstance(param_group, dict):
            check_names(name, param_group, self.hyperparameters)
            check_hyperparameters(name, {**self.defaults, **param_group})
        super().add_param_group(param_group)
        try:
            check_parameters(name, param_group["params"], param_group.get("channel_dim"))
        except ValueError:
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
        with torch.no_grad():
            check_gradients(type(self).__name__, (p for _, p in self._parameters()))
            for group in self.param_groups:
                params = [p for p in group["params"] if p.grad is not None]
                self._step_group(group, params, [p.grad for p in params], [self._record(p) for p in params])
        return loss

    def diagnostics(self) -> dict[tuple[int, int], ParameterDiagnostics]:
        """What the last step did, and counts since `reset_diagnostics()`, for every parameter that took a step.

        Waits for the device; a step does not. Not part of `state_dict()`: see the class's comment.

        Returns:
            The key is (index of the group, index of the parameter in its group).
        """
        return {
            place: read_record(self._records[param], param, self.param_groups[place[0]])
            for place, param in self._parameters()
            if param in self._records
        }

    def reset_diagnostics(self) -> None:
        """Set the counts to zero; the last step's values stay until the next step."""
        for record in self._records.values():
            record.counts.zero_()

    @abstractmethod
    def _step_group(
        self, group: dict[str, Any], params: list[Tensor], grads: list[Tensor], records: list[StepRecord]
    ) -> None:
        """Update `params`, all of `group`, all with a gradient; create missing state."""

    def _parameters(self) -> Iterator[tuple[tuple[int, int], Tensor]]:
        for i, group in enumerate(self.param_groups):
            for j, param in enumerate(group["params"]):
                yield (i, j), param

    def _record(self, param: Tensor) -> StepRecord:
        if param not in self._records:
            self._records[param] = new_record(param, arithmetic_dtype(param.dtype))
        return self._records[param]
