"""SGDP, and SGDW: the same without the projection."""

from collections.abc import Callable
from typing import Any, ClassVar, cast

from torch import Tensor
from torch.optim.optimizer import ParamsT, required

from adamp import eager, functional
from adamp.base import EXECUTION, TangentOptimizer
from adamp.diagnostics import StepRecord
from adamp.native import Columns, Hyper

# lr has no default but may be given per group; the annotation is what a caller passes.
_REQUIRED = cast("float", required)

_NO_STATE = Columns([], [], [])


class _MomentumOptimizer(TangentOptimizer):
    """Momentum state, shared by SGDP and SGDW."""

    state_names = ("momentum_buffer",)

    def _columns(self, params: list[Tensor], group: dict[str, Any]) -> Columns:
        if group["momentum"] == 0:
            return _NO_STATE
        buffers = [state.get("momentum_buffer") for state in map(self.state.__getitem__, params)]
        for i, param in enumerate(params):
            if buffers[i] is None:
                buffers[i] = self.state[param]["momentum_buffer"] = functional.zeros_for(param)
        return Columns(buffers, [], [])

    def _hyper(self, group: dict[str, Any]) -> Hyper:
        # SGDW has none of eps, delta and wd_ratio, which only the projection uses.
        names = ("eps", "weight_decay", "delta", "wd_ratio", "momentum", "dampening")
        values = (group.get(name, 0.0) for name in names)
        return Hyper(float(group["lr"]), 0.0, 0.0, *values, 0, group["nesterov"], group["maximize"], 1)

    def _step_momentum(
        self,
        update: Callable[..., None],
        group: dict[str, Any],
        params: list[Tensor],
        grads: list[Tensor],
        state: Columns,
        records: list[StepRecord],
    ) -> None:
        """Update `params` by `eager` where it can, else by `update` of `functional`."""
        hyper = {name: group[name] for name in self.hyperparameters if name not in EXECUTION}
        buffers: list[Any] = state.first or [None] * len(params)
        if not eager.can_read(params, group["lr"]):
            update(params, grads, buffers, records, **hyper)
            return
        of_view = {name: hyper.pop(name) for name in eager.View._fields if name in hyper}
        view = eager.View(**of_view) if of_view else None
        eager.sgdp(params, grads, buffers, records, view=view, **hyper)


class SGDP(_MomentumOptimizer):
    r"""SGD with decoupled decay whose step is projected onto the tangent of scale-invariant weights.

    Per tensor, with gradient g and weight w before any decay:

    .. math::
        b &= \mu b + (1 - \text{dampening}) g, \qquad b_0 = 0 \\
        u &= b \quad \text{(nesterov: } g + \mu b \text{)} \\
        u &\leftarrow u - n (n \cdot u), \; r = \text{wd\_ratio}
             \quad \text{where projected, else } r = 1, \qquad n = w / (|w| + \epsilon) \\
        w &\leftarrow (1 - \text{lr} \, \lambda \, r / (1 - \mu)) w - \text{lr} \, u

    When and how a tensor is projected is the same as in `AdamP`.

    Differences from the paper: none but those named there. Differences from the authors' code: without
    nesterov theirs writes the projected step back into the momentum buffer, because the two are one tensor
    there; here, as in the paper's algorithm 1, the buffer keeps the unprojected momentum, so results differ
    from the second step on. With nesterov the two agree. Also those listed in `AdamP`. Differences from
    `torch.optim.SGD`: weight decay is decoupled and divided by 1 - momentum, so that its equilibrium with the
    gradient is that of SGD's L2 penalty; the buffer starts at zero, so that dampening already acts on the
    first step, and it acts without momentum too; there is no foreach.

    Args:
        params: Parameters, named parameters or parameter groups, as in torch.optim.
        lr: Learning rate, >= 0; a number or a 1-element tensor. No default, but may be given per group.
        momentum: mu, in [0, 1); 0 keeps no buffer.
        dampening: In [0, 1].
        weight_decay: Decoupled decay, >= 0; removes lr * weight_decay / (1 - momentum) of the weight in a step.
        nesterov: Nesterov momentum; needs momentum > 0 and dampening = 0.
        eps: >= 0, in the weight's unit: added to its norm, and lower bound of the cosine's norms.
        delta: Threshold of the decision, >= 0, dimensionless; 0 is SGDW.
        wd_ratio: Decay of projected tensors relative to the others, >= 0.
        channel_dim: The dimension that counts output channels; 1 for transposed convolutions.
        maximize: Maximize the objective.
        differentiable: Refused; here for torch's signature.
        fused: True insists on a fused step, False on plain torch; None takes the best there is, see `adamp.paths`.
        deterministic: Results that do not depend on former guesses. On a CPU they never do.

    Raises:
        ValueError: A hyperparameter or a parameter is refused; the message says the rule and the value.

    Source: Heo et al., ICLR 2021 (arXiv:2006.08217), algorithm 1; checked against the authors' package 0.3.0.
    """

    hyperparameters: ClassVar[tuple[str, ...]] = (
        "lr",
        "momentum",
        "dampening",
        "weight_decay",
        "nesterov",
        "eps",
        "delta",
        "wd_ratio",
        "channel_dim",
        "maximize",
        "differentiable",
        "fused",
        "deterministic",
    )

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = _REQUIRED,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        eps: float = 1e-8,
        delta: float = 0.1,
        wd_ratio: float = 0.1,
        *,
        channel_dim: int = 0,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        deterministic: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "eps": eps,
            "delta": delta,
            "wd_ratio": wd_ratio,
            "channel_dim": channel_dim,
            "maximize": maximize,
            "differentiable": differentiable,
            "fused": fused,
            "deterministic": deterministic,
        }
        super().__init__(params, defaults)

    def _step_plain(
        self,
        group: dict[str, Any],
        params: list[Tensor],
        grads: list[Tensor],
        state: Columns,
        records: list[StepRecord],
    ) -> None:
        self._step_momentum(functional.sgdp, group, params, grads, state, records)


class SGDW(_MomentumOptimizer):
    r"""SGDP without the projection: SGD with the same decoupled decay, the baseline that isolates the projection.

    .. math::
        b = \mu b + (1 - \text{dampening}) g, \qquad
        w \leftarrow (1 - \text{lr} \, \lambda / (1 - \mu)) w - \text{lr} \, b
        \quad \text{(nesterov: } g + \mu b \text{ for } b \text{)}

    Equal to `SGDP` with delta=0 and, without weight decay and dampening, to `torch.optim.SGD`. The SGDW of
    Loshchilov and Hutter has no division by 1 - momentum.

    Args:
        params: Parameters, named parameters or parameter groups, as in torch.optim.
        lr: Learning rate, >= 0; a number or a 1-element tensor. No default, but may be given per group.
        momentum: mu, in [0, 1); 0 keeps no buffer.
        dampening: In [0, 1].
        weight_decay: Decoupled decay, >= 0; removes lr * weight_decay / (1 - momentum) of the weight in a step.
        nesterov: Nesterov momentum; needs momentum > 0 and dampening = 0.
        maximize: Maximize the objective.
        differentiable: Refused; here for torch's signature.
        fused: True insists on a fused step, False on plain torch; None takes the best there is, see `adamp.paths`.
        deterministic: Results that do not depend on former guesses. On a CPU they never do.

    Raises:
        ValueError: A hyperparameter or a parameter is refused; the message says the rule and the value.
    """

    hyperparameters: ClassVar[tuple[str, ...]] = (
        "lr",
        "momentum",
        "dampening",
        "weight_decay",
        "nesterov",
        "maximize",
        "differentiable",
        "fused",
        "deterministic",
    )

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = _REQUIRED,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        deterministic: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "differentiable": differentiable,
            "fused": fused,
            "deterministic": deterministic,
        }
        super().__init__(params, defaults)

    def _step_plain(
        self,
        group: dict[str, Any],
        params: list[Tensor],
        grads: list[Tensor],
        state: Columns,
        records: list[StepRecord],
    ) -> None:
        self._step_momentum(functional.sgdw, group, params, grads, state, records)
