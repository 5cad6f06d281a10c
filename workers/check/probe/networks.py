"""Two small networks that run for many seeds at once: every weight has the seeds as its first dimension.

Images of 8 x 8 in ten classes. Each network has a weight before a BatchNorm, whose every channel's length is without
effect on the loss, one before a normalisation over the layer, whose length as a whole is, and weights before none.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

N_CLASSES = 10
_WIDTH = 64
_CHANNELS = 8
_EPS = 1e-5

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Network:
    """What is trained.

    Attributes:
        shapes: Of one seed's parameters. Those of more than one dimension start uniform within 1 / sqrt(fan in);
            others start at 0, and where their name ends in "gain" at 1.
        forward: (parameters with the seeds first, images (seeds, batch, 64)) -> logits (seeds, batch, 10).
    """

    shapes: dict[str, Shape]
    forward: Callable[[list[Tensor], Tensor], Tensor]


def _mlp(parameters: list[Tensor], images: Tensor) -> Tensor:
    w1, gain1, shift1, w2, gain2, shift2, w3, b3, w4, b4 = parameters
    x = _normalised(torch.bmm(images, w1.mT), (1,))  # BatchNorm
    x = (x * gain1[:, None] + shift1[:, None]).relu()
    x = _normalised(torch.bmm(x, w2.mT), (2,))  # LayerNorm
    x = (x * gain2[:, None] + shift2[:, None]).relu()
    x = torch.baddbmm(b3[:, None], x, w3.mT).relu()
    return torch.baddbmm(b4[:, None], x, w4.mT)


def _cnn(parameters: list[Tensor], images: Tensor) -> Tensor:
    w1, gain1, shift1, w2, gain2, shift2, w3, b3, w4, b4 = parameters
    n_seeds, n_images, _ = images.shape
    x = images.transpose(0, 1).reshape(n_images, n_seeds, 8, 8)  # the seeds are the groups of each convolution
    x = F.conv2d(x, w1.flatten(0, 1), padding=1, groups=n_seeds)
    x = F.batch_norm(x, None, None, gain1.flatten(), shift1.flatten(), training=True, eps=_EPS).relu()
    x = F.conv2d(x, w2.flatten(0, 1), stride=2, padding=1, groups=n_seeds)
    x = F.group_norm(x, n_seeds, gain2.flatten(), shift2.flatten(), eps=_EPS).relu()
    x = F.conv2d(x, w3.flatten(0, 1), b3.flatten(), stride=2, padding=1, groups=n_seeds).relu()
    pooled = x.mean((2, 3)).view(n_images, n_seeds, -1).transpose(0, 1)
    return torch.baddbmm(b4[:, None], pooled, w4.mT)


def _normalised(x: Tensor, dimensions: tuple[int, ...]) -> Tensor:
    variance, center = torch.var_mean(x, dimensions, correction=0, keepdim=True)
    return (x - center) * torch.rsqrt(variance + _EPS)


NETWORKS: dict[str, Network] = {
    "digits-mlp": Network(
        {
            "hidden1": (_WIDTH, 64),
            "norm1.gain": (_WIDTH,),
            "norm1.shift": (_WIDTH,),
            "hidden2": (_WIDTH, _WIDTH),
            "norm2.gain": (_WIDTH,),
            "norm2.shift": (_WIDTH,),
            "hidden3": (_WIDTH, _WIDTH),
            "hidden3.bias": (_WIDTH,),
            "head": (N_CLASSES, _WIDTH),
            "head.bias": (N_CLASSES,),
        },
        _mlp,
    ),
    "digits-cnn": Network(
        {
            "conv1": (_CHANNELS, 1, 3, 3),
            "norm1.gain": (_CHANNELS,),
            "norm1.shift": (_CHANNELS,),
            "conv2": (2 * _CHANNELS, _CHANNELS, 3, 3),
            "norm2.gain": (2 * _CHANNELS,),
            "norm2.shift": (2 * _CHANNELS,),
            "conv3": (2 * _CHANNELS, 2 * _CHANNELS, 3, 3),
            "conv3.bias": (2 * _CHANNELS,),
            "head": (N_CLASSES, 2 * _CHANNELS),
            "head.bias": (N_CLASSES,),
        },
        _cnn,
    ),
}
