"""Two small networks with BatchNorm on scikit-learn's bundled digits: no download, a run in under a second.

1,797 grey images of 8 x 8: 360 are the test set, always the same; 360 of the rest, drawn by the run's seed, are the
validation split; 1,077 train.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from service.domain import catalog
from service.domain.catalog import BUILT_IN
from service.domain.seeds import stream_seed
from service.domain.space import Value
from workers.workloads import Evaluation, Workload

N_TEST = 360
N_VALIDATION = 360
_TEST_SEED = 20210503


@dataclass(frozen=True)
class Examples:
    """Images and labels on one device.

    Attributes:
        images: float32, shape (n, 1, 8, 8), grey values from 0 to 1.
        labels: int64, shape (n,), 0 to 9.
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Tensor) -> Examples:
        """The examples at `indices`, as copies in that order."""
        return Examples(self.images[indices], self.labels[indices])


@cache
def _load(device: torch.device) -> tuple[Examples, Examples]:
    """All digits on a device, once per process: (those for training and validation, the test set)."""
    from sklearn.datasets import load_digits  # about a second: only processes that train pay it

    digits = load_digits()
    images = torch.tensor(digits.images / 16.0, dtype=torch.float32, device=device).unsqueeze(1)
    everything = Examples(images, torch.tensor(digits.target, dtype=torch.int64, device=device))
    is_test = stratified_choice(digits.target, N_TEST, _TEST_SEED)
    return everything.take(_positions(~is_test, device)), everything.take(_positions(is_test, device))


def stratified_choice(labels: NDArray[np.int64], n_chosen: int, seed: int) -> NDArray[np.bool_]:
    """Choose examples at random, each class by its share.

    Every class is put into random order and spread evenly over (0, 1); the `n_chosen` examples at the front are taken.

    Args:
        labels: Shape (n,).
        n_chosen: At most n.
        seed: Any non-negative integer.

    Returns:
        Mask, shape (n,), with `n_chosen` true entries.
    """
    generator = np.random.default_rng(seed)
    place = np.empty(len(labels))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        place[generator.permutation(members)] = (np.arange(len(members)) + generator.random()) / len(members)
    mask = np.zeros(len(labels), dtype=np.bool_)
    mask[np.argsort(place, kind="stable")[:n_chosen]] = True
    return mask


def _positions(mask: NDArray[np.bool_], device: torch.device) -> Tensor:
    return torch.from_numpy(np.flatnonzero(mask)).to(device)


class _Digits(Workload):
    """What both networks share: data, order, loss and endpoint. The endpoint is the mean negative log likelihood."""

    def __init__(self, options: Mapping[str, Value], seed: int, device: torch.device) -> None:
        self._device, self._seed = device, seed
        rest, self._test = _load(device)
        is_validation = stratified_choice(rest.labels.cpu().numpy(), N_VALIDATION, stream_seed(seed, "split"))
        self._validation = rest.take(_positions(is_validation, device))
        self._training = rest.take(_positions(~is_validation, device))
        self._batch_size = int(options["batch_size"])
        self._epoch_in_order: tuple[int, Examples] | None = None
        self.n_epochs = int(options["epochs"])
        self.n_steps_per_epoch = len(self._training) // self._batch_size
        self.model = self._build(int(options["width"])).to(device)

    @abstractmethod
    def _build(self, width: int) -> nn.Module:
        """The network with freshly drawn weights, on the CPU."""

    def loss(self, epoch: int, index: int) -> Tensor:
        """Mean cross entropy of one batch; the examples beyond the last full batch of an epoch are left out."""
        examples = self._in_order(epoch)
        batch = slice(index * self._batch_size, (index + 1) * self._batch_size)
        return cross_entropy(self.model(examples.images[batch]), examples.labels[batch])

    def _in_order(self, epoch: int) -> Examples:
        if self._epoch_in_order is None or self._epoch_in_order[0] != epoch:
            generator = torch.Generator().manual_seed(stream_seed(self._seed, f"order/{epoch}"))
            order = torch.randperm(len(self._training), generator=generator).to(self._device)
            self._epoch_in_order = epoch, self._training.take(order)
        return self._epoch_in_order[1]

    def validate(self) -> Evaluation:
        """Endpoint and accuracy on the validation split."""
        return self._evaluate(self._validation)

    def test(self) -> Evaluation:
        """Endpoint and accuracy on the test set."""
        return self._evaluate(self._test)

    @torch.no_grad()
    def _evaluate(self, examples: Examples) -> Evaluation:
        self.model.eval()
        logits = self.model(examples.images)
        self.model.train()
        accuracy = (logits.argmax(1) == examples.labels).float().mean()
        return Evaluation(cross_entropy(logits, examples.labels).item(), {"accuracy": accuracy.item()})


class DigitsCnn(_Digits):
    """Three 3 x 3 convolutions (width, 2 width, 2 width channels), each with BatchNorm, mean pooling, one linear layer.

    Of the 8 x 8 image the second and the third convolution each halve the sides.
    """

    description: ClassVar[catalog.Workload] = BUILT_IN.workloads["digits-cnn"]
    scale_invariant = frozenset({"conv1.weight", "conv2.weight", "conv3.weight"})

    def _build(self, width: int) -> nn.Module:
        model = nn.Sequential()
        for number, (n_in, n_out, stride) in enumerate(
            [(1, width, 1), (width, 2 * width, 2), (2 * width, 2 * width, 2)], start=1
        ):
            model.add_module(f"conv{number}", nn.Conv2d(n_in, n_out, 3, stride, padding=1, bias=False))
            model.add_module(f"norm{number}", nn.BatchNorm2d(n_out))
            model.add_module(f"relu{number}", nn.ReLU())
        model.add_module("pool", nn.AdaptiveAvgPool2d(1))
        model.add_module("flatten", nn.Flatten())
        model.add_module("head", nn.Linear(2 * width, 10))
        return model


class DigitsMlp(_Digits):
    """Two hidden layers of `width` units, each with BatchNorm, and one linear layer."""

    description: ClassVar[catalog.Workload] = BUILT_IN.workloads["digits-mlp"]
    scale_invariant = frozenset({"hidden1.weight", "hidden2.weight"})

    def _build(self, width: int) -> nn.Module:
        model = nn.Sequential(nn.Flatten())
        for number, n_in in enumerate([64, width], start=1):
            model.add_module(f"hidden{number}", nn.Linear(n_in, width, bias=False))
            model.add_module(f"norm{number}", nn.BatchNorm1d(width))
            model.add_module(f"relu{number}", nn.ReLU())
        model.add_module("head", nn.Linear(width, 10))
        return model
