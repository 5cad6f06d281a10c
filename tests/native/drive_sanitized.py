"""Build a sanitized library in the user's cache and drive it; run by `sanitize.sh`, which loads the sanitizers first.

Every tensor that the library sees ends where its memory ends, so that a read or write beyond it is noticed.
"""

import itertools
import sys
from unittest import mock

import torch

from adamp import SGDP, SGDW, AdamP, building, native

# Float casts out of range and the mask of lanes that no element has are defined here; alignment is part of `undefined`.
FLAGS = ("-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
SHAPES = [(), (1,), (77,), (0, 3), (5, 3), (33, 40), (300, 100), (17, 1000), (3, 20000), (4000, 5), (40, 3, 5, 7)]
OPTIMIZERS = [
    (AdamP, {"weight_decay": 0.1}),
    (AdamP, {"nesterov": True}),
    (SGDP, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    (SGDP, {"lr": 0.1}),
    (SGDW, {"lr": 0.1, "momentum": 0.9}),
]
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]


def laid_out(shape: tuple[int, ...], dtype: torch.dtype, layout: str) -> torch.Tensor:
    tensor = torch.randn(shape).to(dtype)
    order = list(reversed(range(tensor.ndim)))
    if layout == "reversed":
        tensor = tensor.permute(order).contiguous().permute(order)
    return tensor


def drive(optimizer: type, hyper: dict, dtype: torch.dtype, layout: str) -> None:
    params = [torch.nn.Parameter(laid_out(shape, dtype, layout)) for shape in SHAPES]
    delta = {} if optimizer is SGDW else {"delta": 5.0}
    subject = optimizer(params, fused=True, **delta, **hyper)
    for t in range(5):
        for param in params:
            param.grad = torch.randn_like(param)
            if t == 3:
                param.grad.fill_(float("nan"))
        for plan in subject._plans.values():
            for row in plan.rows:
                row.guess, row.cooldown = t % 3, 0
        subject.step()


def main() -> None:
    target = building.cache_folder() / building.library_name()
    building.build(target, extra_flags=FLAGS)
    library = native.library()
    if isinstance(library, str) or library._name != str(target):
        raise SystemExit(f"the sanitized library at {target} is not the one that steps: {library}")
    for isa in range(native.instruction_set() + 1):
        with mock.patch.object(native, "instruction_set", return_value=isa):
            for n_threads in (1, 2):
                torch.set_num_threads(n_threads)
                for (optimizer, hyper), dtype, layout in itertools.product(
                    OPTIMIZERS, DTYPES, ("contiguous", "reversed")
                ):
                    drive(optimizer, hyper, dtype, layout)
    sys.stdout.write("sanitizers found nothing\n")


if __name__ == "__main__":
    main()
