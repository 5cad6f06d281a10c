"""What a training run starts from: data, first weights, order, validation split; drawn here, equal for both sides.

The sides may have different versions of torch; nothing that they draw themselves could be trusted to be equal.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workers.check.errors import UsageError
from workers.check.probe.networks import NETWORKS, Shape

N_STEPS = 240
N_VALIDATION = 360
BATCH = 64


def starts(network: str, seed: int, block: int, first: int, n_seeds: int) -> dict[str, Any]:
    """Arguments of the probe's "train" for some seeds, without the optimizer's.

    Args:
        network: A key of NETWORKS.
        seed: The check's.
        block: Blocks of one check share no seed.
        first: Number of the first seed within its block; seed `first + k` starts the same in whichever group it comes.
        n_seeds: How many.

    Raises:
        UsageError: There is no such network, or scikit-learn, which brings the digits, is missing.
    """
    if network not in NETWORKS:
        raise UsageError(f"the check has no workload {network!r}; it has {', '.join(NETWORKS)}")
    images, labels = _digits()
    generators = [np.random.default_rng([seed, block, first + k]) for k in range(n_seeds)]
    weights = {
        name: torch.stack([_initial(name, shape, generator) for generator in generators])
        for name, shape in NETWORKS[network].shapes.items()
    }
    splits = [generator.permutation(len(labels)) for generator in generators]
    orders = [_order(split[N_VALIDATION:], generator) for split, generator in zip(splits, generators, strict=True)]
    return {
        "network": network,
        "weights": weights,
        "images": images,
        "labels": labels,
        "orders": torch.from_numpy(np.stack(orders).astype(np.int16)),
        "validation": torch.from_numpy(np.stack([split[:N_VALIDATION] for split in splits]).astype(np.int16)),
        "seed": seed,
    }


def _initial(name: str, shape: Shape, generator: np.random.Generator) -> Tensor:
    if len(shape) == 1:
        return torch.ones(shape) if name.endswith("gain") else torch.zeros(shape)
    bound = 1.0 / math.sqrt(math.prod(shape[1:]))
    return torch.from_numpy(generator.uniform(-bound, bound, shape).astype(np.float32))


def _order(places: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.int64]:
    """Batches of whole epochs, each in a new order; what does not fill a batch at an epoch's end is left out."""
    per_epoch = len(places) // BATCH
    epochs = [generator.permutation(places)[: per_epoch * BATCH] for _ in range(math.ceil(N_STEPS / per_epoch))]
    return np.concatenate(epochs).reshape(-1, BATCH)[:N_STEPS]


@cache
def _digits() -> tuple[Tensor, Tensor]:
    """1,797 grey images of 8 x 8, values 0 to 16, uint8 (n, 64), and their labels, uint8 (n,)."""
    try:
        from sklearn.datasets import load_digits  # a second: only a check that trains pays it
    except ImportError as error:
        raise UsageError(
            'the training layer needs scikit-learn, which brings its data: pip install "tangent[worker]"'
        ) from error
    digits = load_digits()
    return torch.from_numpy(digits.data.astype(np.uint8)), torch.from_numpy(digits.target.astype(np.uint8))
