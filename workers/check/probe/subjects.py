"""Parameters that are stepped without a model: what speed and counters are measured on."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

Shape = tuple[int, ...]

SUBJECTS: dict[str, tuple[Shape, ...]] = {
    # a small convolutional network: the time goes into calls
    "small": (
        *((16, 1, 3, 3), (16,), (16,)),
        *((32, 16, 3, 3), (32,), (32,)),
        *((64, 32, 3, 3), (64,), (64,)),
        *((64, 64, 3, 3), (64,), (64,)),
        *((10, 64), (10,)),
    ),
    # a block of a transformer and an embedding: the time goes into memory
    "large": ((1024, 256), (768, 256), (256, 256), (1024, 256), (256, 1024), (768,), (1024,), (256,), (256,)),
}
_WARM_UP_STEPS = 5
_N_GRADIENTS = 2


class Subject:
    """An optimizer on its parameters, with random gradients in turn; weights move with every step."""

    def __init__(self, make_optimizer: Callable[..., Any], name: str, seed: int, device: str) -> None:
        """Make everything and take the first steps, which allocate the state."""
        generator = torch.Generator(device).manual_seed(seed)
        shapes = SUBJECTS[name]

        def random(shape: Shape) -> Tensor:
            return torch.randn(shape, generator=generator, device=device)

        self.parameters = [nn.Parameter(random(shape) * 0.1) for shape in shapes]
        self.gradients = [[random(shape) for shape in shapes] for _ in range(_N_GRADIENTS)]
        self.optimizer = make_optimizer(self.parameters)
        self.steps(_WARM_UP_STEPS)

    def turn_gradients(self) -> None:
        """Turn their sign: the weights go to and fro, and no gradient points along its weight in the end."""
        for gradients in self.gradients:
            for gradient in gradients:
                gradient.neg_()

    def steps(self, n_steps: int) -> None:
        """Take steps, as a training loop would."""
        step, parameters = self.optimizer.step, self.parameters
        for number in range(n_steps):
            for parameter, gradient in zip(parameters, self.gradients[number % _N_GRADIENTS], strict=True):
                parameter.grad = gradient
            step(_no_loss)


def _no_loss() -> float:
    """A closure for optimizers that ask for one: the gradients are there already."""
    return 0.0
