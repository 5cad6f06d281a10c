"""AdamP."""

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from adamp import eager, functional
from adamp.base import EXECUTION, TangentOptimizer
from adamp.diagnostics import StepRecord
from adamp.native import Columns, Hyper

_STATE_NAMES = ("exp_avg", "exp_avg_sq", "step")


class AdamP(TangentOptimizer):
    r"""AdamW whose step is projected onto the tangent of scale-invariant weights.

    Per tensor, with gradient g, weight w before any decay, and t this tensor's step:

    .. math::
        m &= \beta_1 m + (1 - \beta_1) g, \qquad v = \beta_2 v + (1 - \beta_2) g^2 \\
        u &= m / (\sqrt{v} / \sqrt{1 - \beta_2^t} + \epsilon)
             \quad \text{(nesterov: } \beta_1 m + (1 - \beta_1) g \text{ in the numerator)} \\
        u &\leftarrow u - n (n \cdot u), \; r = \text{wd\_ratio}
             \quad \text{where projected, else } r = 1, \qquad n = w / (|w| + \epsilon) \\
        w &\leftarrow (1 - \text{lr} \, \lambda \, r) w - \frac{\text{lr}}{1 - \beta_1^t} u

    The projection is considered for tensors with two or more dimensions, on the raw gradient. *Channel*: every
    slice along `channel_dim` is one vector; if the largest |cos(g, w)| over them is below
    delta / sqrt(elements of a slice), each is projected. *Layer*: else, if |cos(g, w)| of the whole tensor is
    below delta / sqrt(elements), it is projected as one vector. Both comparisons are strict, norms in the
    cosine are at least eps; a NaN cosine, or a norm that the dtype cannot hold (in float32 gradients from about
    1e18), means "not projected". A zero gradient or weight has cosine 0 and therefore counts as
    scale-invariant (for delta > 0).

    Differences from the paper: eps in n and in the cosine, the maximum over channels, and the layer view
    follow the authors' code. Differences from the authors' code: arithmetic and moments are float32 for 16-bit
    weights (theirs give NaN in float16); any strides and empty tensors work; sparse and complex tensors are
    refused before anything changes; `channel_dim` and `maximize` are additions; `step` is a tensor, as in
    torch. Differences from `torch.optim.AdamW`: the projection; weight_decay defaults to 0; the moments of
    16-bit weights are float32; there is no amsgrad or foreach.

    Args:
        params: Parameters, named parameters or parameter groups, as in torch.optim.
        lr: Learning rate, >= 0; a number or a 1-element tensor.
        betas: Decay of the two moments, each in [0, 1).
        eps: >= 0, in the gradient's unit in the denominator and the weight's unit in the projection.
        weight_decay: Decoupled decay, >= 0; removes lr * weight_decay of the weight in a step.
        delta: Threshold of the decision, >= 0, dimensionless; 0 is AdamW.
        wd_ratio: Decay of projected tensors relative to the others, >= 0.
        nesterov: Nesterov momentum.
        channel_dim: The dimension that counts output channels; 1 for transposed convolutions.
        maximize: Maximize the objective.
        capturable: Keep `step` on the parameters' device, for CUDA graphs.
        differentiable: Refused; here for torch's signature.
        fused: True insists on a fused step, False on plain torch; None takes the best there is, see `adamp.paths`.
        deterministic: Results that do not depend on former guesses. On a CPU they never do.

    Raises:
        ValueError: A hyperparameter or a parameter is refused; the message says the rule and the value.

    Source: Heo et al., ICLR 2021 (arXiv:2006.08217), algorithm 2; checked against the authors' package 0.3.0.
    """

    state_names = _STATE_NAMES
    hyperparameters: ClassVar[tuple[str, ...]] = (
        "lr",
        "betas",
        "eps",
        "weight_decay",
        "delta",
        "wd_ratio",
        "nesterov",
        "channel_dim",
        "maximize",
        "capturable",
        "differentiable",
        "fused",
        "deterministic",
    )

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        delta: float = 0.1,
        wd_ratio: float = 0.1,
        nesterov: bool = False,
        *,
        channel_dim: int = 0,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        deterministic: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "delta": delta,
            "wd_ratio": wd_ratio,
            "nesterov": nesterov,
            "channel_dim": channel_dim,
            "maximize": maximize,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "deterministic": deterministic,
        }
        super().__init__(params, defaults)

    def _columns(self, params: list[Tensor], group: dict[str, Any]) -> Columns:
        states = list(map(self.state.__getitem__, params))
        if not all(states):
            for param, state in zip(params, states, strict=True):
                if not state:
                    state.update(self._new_state(param, group))
        return Columns(*([state[name] for state in states] for name in _STATE_NAMES))

    def _new_state(self, param: Tensor, group: dict[str, Any]) -> dict[str, Tensor]:
        # On the CPU even for a GPU's weights: the bias correction is then computed without a sync. Only a CUDA
        # graph, which replays no Python, needs it on the GPU.
        step = torch.zeros((), dtype=torch.float32, device=param.device if group["capturable"] else "cpu")
        return {"step": step, "exp_avg": functional.zeros_for(param), "exp_avg_sq": functional.zeros_for(param)}

    def _hyper(self, group: dict[str, Any]) -> Hyper:
        lr, (beta1, beta2) = float(group["lr"]), group["betas"]
        names = ("eps", "weight_decay", "delta", "wd_ratio")
        flags = (1, group["nesterov"], group["maximize"], 1)
        return Hyper(lr, beta1, beta2, *(group[name] for name in names), 0.0, 0.0, *flags)

    def _step_plain(
        self,
        group: dict[str, Any],
        params: list[Tensor],
        grads: list[Tensor],
        state: Columns,
        records: list[StepRecord],
    ) -> None:
        beta1, beta2 = map(float, group["betas"])
        hyper = {name: group[name] for name in self.hyperparameters if name not in ("betas", *EXECUTION)}
        if not group["capturable"] and eager.can_read(params, group["lr"]):
            eager.adamp(params, grads, *state, records, beta1=beta1, beta2=beta2, **hyper)
            return
        hyper["capturable"] = group["capturable"]
        functional.adamp(params, grads, *state, records, beta1=beta1, beta2=beta2, **hyper)
