"""torch's SGD with SGDP's weight decay: what SGDP must be where delta is 0; for `tangent check`."""

from typing import Any

import torch


class DecoupledSGD(torch.optim.SGD):
    """SGD after w *= 1 - lr weight_decay / (1 - momentum), instead of torch's L2 penalty."""

    def __init__(self, params: Any, lr: float, momentum: float, weight_decay: float, nesterov: bool = False) -> None:
        super().__init__(params, lr=lr, momentum=momentum, nesterov=nesterov)
        self._shrink = 1 - lr * weight_decay / (1 - momentum)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is not None:
                    param.mul_(self._shrink)
        return super().step(closure)
