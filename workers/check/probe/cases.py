"""The cases of the numerics layer: which tensors are stepped, on which gradients, and what is special about them."""

from dataclasses import asdict, dataclass, field
from math import prod
from typing import Any

Shape = tuple[int, ...]
Nested = list[Any]

SMALL: tuple[Shape, ...] = ((4, 3, 2, 2), (6, 5), (5,), ())
LARGE: tuple[Shape, ...] = ((17, 1000), (2, 17000), (300, 64))
"""Many long rows, rows of more elements than a processor's nearest cache holds, and many short rows."""

ODD: tuple[Shape, ...] = ((1, 1), (5, 1), (1, 6), (0, 3), (1,))
"""One element, one column, one row, none."""

GRADIENTS = ("random", "channel", "layer", "radial")
"""Not orthogonal to the weight; orthogonal channel by channel; orthogonal only as a whole; along the weight. A case
may also have "mixed" ones: three steps per channel, then one step of each kind in turn; or "near" ones: the cosines of
all channels 2 % below AdamP's threshold, then 2 % above it."""

SITUATIONS = {
    "plain": "nothing special",
    "odd-shapes": "tensors of one element, one column, one row, and none",
    "large": "tensors of up to 34,000 elements",
    "long": "many steps",
    "zero-gradient": "gradients that are zero for the first half of the steps",
    "zero-weight": "weights that start at zero",
    "tiny-weight": "weights that start at 1e-12 of their size",
    "missing-gradients": "gradients that are None, of other tensors in other steps",
    "closure": "step(closure)",
    "two-groups": "two parameter groups with other hyperparameters",
    "late-group": "a parameter group that is added in mid-run",
    "lr-schedule": "lr divided by 4 in mid-run",
    "tensor-lr": "lr as a tensor",
    "vector-lr": "lr as a tensor of shape (1,)",
    "round-trip": "state_dict saved and loaded into a new optimizer in mid-run",
    "channels-last": "channels_last weights, gradients now so, now contiguous",
    "transposed": "weights that lie in memory the other way round",
    "strided": "weights that are every other element of a larger tensor",
}


@dataclass(frozen=True)
class Case:
    """One run of an optimizer.

    Attributes:
        gradient: One of GRADIENTS, "mixed" or "near".
        scale: Root mean square of each gradient before it is made orthogonal.
        arguments: Constructor arguments over the configuration's.
        situation: One of SITUATIONS.
        seed: Of the start and the gradients, where these are not given.
        start: Weights to start with, one nested list per shape; None: drawn.
        pattern: Gradients by step, repeated from its start when it ends, each one nested list per shape; None: drawn.
    """

    gradient: str = "random"
    scale: float = 1.0
    arguments: dict[str, Any] = field(default_factory=dict)
    situation: str = "plain"
    steps: int = 12
    seed: int = 0
    shapes: tuple[Shape, ...] = SMALL
    start: Nested | None = None
    pattern: Nested | None = None

    @property
    def sizes(self) -> list[int]:
        """Elements of each tensor."""
        return [prod(shape) for shape in self.shapes]

    @property
    def name(self) -> str:
        """Short and, among the cases of one check, unique."""
        words = [f"{key}={value}" for key, value in self.arguments.items()]
        return " ".join([self.situation, self.gradient, f"{self.scale:.2g}", *words])

    def to_json(self) -> dict[str, Any]:
        """What `case_from_json` reads."""
        return asdict(self)


def case_from_json(document: dict[str, Any]) -> Case:
    """Read what `Case.to_json` wrote; lists that were shapes become tuples."""
    return Case(**{**document, "shapes": tuple(map(tuple, document["shapes"]))})
