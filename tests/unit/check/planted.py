"""Optimizers with faults planted, and right ones of unusual habits; torch's SGD is what they should be."""

import time

import torch


class Plain(torch.optim.SGD):
    pass


class Rebuilt(torch.optim.SGD):
    """The same arithmetic."""

    def step(self, closure=None):
        return super().step(closure)


class Narrow(torch.optim.SGD):
    """Does not know nesterov."""

    def __init__(self, params, lr, momentum, weight_decay, foreach):
        super().__init__(params, lr=lr, momentum=momentum, weight_decay=weight_decay, foreach=foreach)


class Slower(torch.optim.SGD):
    """Sleeps for longer than the step takes."""

    def step(self, closure=None):
        super().step(closure)
        time.sleep(2e-3)


class Shadow(torch.optim.SGD):
    """One more state tensor."""

    def step(self, closure=None):
        super().step(closure)
        for param, state in list(self.state.items()):
            state.setdefault("shadow", torch.empty_like(param))


class Hoarder(torch.optim.SGD):
    """A tensor kept outside `state`."""

    def __init__(self, params, **arguments):
        super().__init__(params, **arguments)
        self.kept = ({"deep": [torch.zeros(1000)]},)


class Peeking(torch.optim.SGD):
    """A hidden .item()."""

    def step(self, closure=None):
        super().step(closure)
        self.param_groups[0]["params"][1].grad[0].item()


class Listing(torch.optim.SGD):
    """Reads memory without an operator."""

    def step(self, closure=None):
        super().step(closure)
        self.param_groups[0]["params"][1].grad.tolist()


class Thrifty(torch.optim.SGD):
    """One operator less in every tensor: the decay's."""

    def __init__(self, params, **arguments):
        super().__init__(params, **{**arguments, "weight_decay": 0.0})


class _Scaled(torch.optim.SGD):
    factor = 1.0

    def __init__(self, params, **arguments):
        super().__init__(params, **{**arguments, "lr": arguments["lr"] * self.factor})


class Slightly(_Scaled):
    factor = 0.97


class Lame(_Scaled):
    factor = 0.3


class Wild(_Scaled):
    factor = 1e30


class Rebinding(torch.optim.SGD):
    """Gives its parameters new memory with every step, as some do."""

    def step(self, closure=None):
        super().step(closure)
        for param in self.param_groups[0]["params"]:
            param.data = param.data.clone()


class Asking(torch.optim.SGD):
    """Asks for a closure, and calls it twice."""

    def step(self, closure):
        closure()
        closure()
        super().step()


class Strict(torch.optim.SGD):
    """Takes gradients only as `backward` leaves them: laid out as their parameters."""

    def step(self, closure=None):
        for param in self.param_groups[0]["params"]:
            if param.grad.stride() != param.stride():
                raise ValueError(f"strides {param.grad.stride()}, want {param.stride()}")
        super().step(closure)
