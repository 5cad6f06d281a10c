"""Training of many seeds in one process: one forward pass for all, the side's own optimizer on each seed's tensors."""

import ctypes
import hashlib
import inspect
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from .networks import NETWORKS, Network


class Seeds:
    """The parameters of all seeds, stacked, and an optimizer for each seed that sees only its own.

    A seed's parameters are views of the stacked ones, and so are its gradients: what its optimizer writes, the next
    forward pass reads.
    """

    def __init__(self, make_optimizer: Callable[..., Any], stacked: list[Tensor], overrides: dict[str, Any]) -> None:
        """Args: `stacked` with the seeds as first dimension, changed in place; `overrides` for the constructor."""
        self.stacked = [tensor.requires_grad_() for tensor in stacked]
        n_seeds = len(stacked[0])
        self._own = [[nn.Parameter(tensor.detach()[k]) for tensor in stacked] for k in range(n_seeds)]
        self._addresses = [[parameter.data_ptr() for parameter in own] for own in self._own]
        self._optimizers = [make_optimizer(own, **overrides) for own in self._own]
        self._lrs = [[group.get("lr") for group in optimizer.param_groups] for optimizer in self._optimizers]
        for optimizer in self._optimizers:
            getattr(optimizer, "train", lambda: None)()  # schedule-free optimizers have two modes
        self._needs_closure = _needs_closure(self._optimizers[0])

    def step(self, loss_of: Callable[[list[Tensor], slice], Tensor], lr_factor: float) -> Tensor:
        """One step of every seed; returns each seed's loss before it, shape (seeds,).

        Args:
            loss_of: (stacked parameters of some seeds, which seeds) -> their losses, shape (seeds,).
            lr_factor: Of the constructor's learning rate.
        """
        losses = loss_of(self.stacked, slice(None))
        gradients = _gradients(losses.sum(), self.stacked)
        for k, optimizer in enumerate(self._optimizers):
            for group, lr in zip(optimizer.param_groups, self._lrs[k], strict=True):
                if isinstance(lr, float | int):
                    group["lr"] = lr * lr_factor
            for parameter, gradient in zip(self._own[k], gradients, strict=True):
                parameter.grad = gradient[k]
            if self._needs_closure:
                optimizer.step(self._closure(k, loss_of))
            else:
                optimizer.step()
            self._keep_shared(k)
        return losses.detach()

    def evaluation_mode(self) -> None:
        """For optimizers that evaluate elsewhere than they train."""
        for k, optimizer in enumerate(self._optimizers):
            getattr(optimizer, "eval", lambda: None)()
            self._keep_shared(k)

    def digests(self) -> list[str]:
        """A hash of each seed's parameters: equal if and only if they are equal to the bit."""
        return [_digest(own) for own in self._own]

    def _closure(self, k: int, loss_of: Callable[[list[Tensor], slice], Tensor]) -> Callable[[], Tensor]:
        def closure() -> Tensor:
            with torch.enable_grad():
                self._keep_shared(k)
                which = slice(k, k + 1)
                some = [tensor.detach()[which].requires_grad_() for tensor in self.stacked]
                loss = loss_of(some, which).sum()
                for parameter, gradient in zip(self._own[k], _gradients(loss, some), strict=True):
                    parameter.grad = gradient[0]
                return loss.detach()

        return closure

    def _keep_shared(self, k: int) -> None:
        """An optimizer that gave a parameter new memory: copy it back, so that the forward pass sees it."""
        for parameter, address, tensor in zip(self._own[k], self._addresses[k], self.stacked, strict=True):
            if parameter.data_ptr() != address:
                tensor.detach()[k].copy_(parameter.detach())
                parameter.data = tensor.detach()[k]


def train(make_optimizer: Callable[..., Any], arguments: dict[str, Any]) -> dict[str, Any]:
    """Train some seeds of a network from given weights, in a given order, with a half cosine of the learning rate.

    Args:
        make_optimizer: The side's.
        arguments: "network": a name; "overrides": constructor arguments; "weights": stacked, by name; "images": uint8
            0 to 16, (n, 64); "labels": (n,); "orders": (seeds, steps, batch), "validation": (seeds, m): places in
            images; "device"; "seed" of torch's generators.

    Returns:
        "losses": (seeds, steps), of each step's batch before the step; "validation_losses", "validation_accuracies":
        (seeds,); "digests": of each seed's final weights.
    """
    device = torch.device(arguments["device"])
    network = NETWORKS[arguments["network"]]
    torch.manual_seed(arguments["seed"])
    stacked = [arguments["weights"][name].to(device) for name in network.shapes]
    images, labels = arguments["images"].to(device).float() / 16.0, arguments["labels"].to(device).long()
    orders, validation = arguments["orders"].to(device).long(), arguments["validation"].to(device).long()
    seeds = Seeds(make_optimizer, stacked, arguments["overrides"])
    n_steps = orders.shape[1]
    losses = []
    for step in range(n_steps):

        def loss_of(parameters: list[Tensor], which: slice, step: int = step) -> Tensor:
            batch = orders[which, step]
            return _losses(network.forward(parameters, images[batch]), labels[batch])

        losses.append(seeds.step(loss_of, 0.5 * (1.0 + math.cos(math.pi * step / n_steps))))
    seeds.evaluation_mode()
    found = _validate(network, seeds.stacked, images, labels, validation)
    return {"losses": torch.stack(losses, 1), "digests": seeds.digests(), **found}


@torch.no_grad()
def _validate(
    network: Network, stacked: list[Tensor], images: Tensor, labels: Tensor, validation: Tensor
) -> dict[str, Tensor]:
    """BatchNorm takes its statistics from the validation images: no running ones that the training could spoil."""
    logits, right = network.forward(stacked, images[validation]), labels[validation]
    accuracies = (logits.argmax(2) == right).float().mean(1)
    return {"validation_losses": _losses(logits, right), "validation_accuracies": accuracies}


def _losses(logits: Tensor, labels: Tensor) -> Tensor:
    each = cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    return each.view(labels.shape).mean(1)


def _needs_closure(optimizer: Any) -> bool:
    closure = inspect.signature(type(optimizer).step).parameters.get("closure")
    return closure is not None and closure.default is closure.empty


def _gradients(loss: Tensor, parameters: list[Tensor]) -> list[Tensor]:
    """Laid out as the parameters are, as `backward` would leave them."""
    return [gradient.contiguous() for gradient in torch.autograd.grad(loss, parameters)]


def _digest(parameters: list[nn.Parameter]) -> str:
    digest = hashlib.sha256()
    for parameter in parameters:
        tensor = parameter.detach().cpu().contiguous()
        digest.update(ctypes.string_at(tensor.data_ptr(), tensor.numel() * tensor.element_size()))
    return digest.hexdigest()
