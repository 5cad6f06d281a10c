"""Compiles the Triton kernels for an H200, which needs no GPU, and prints the sizes of the results as JSON."""

import json
import sys
from itertools import product
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from adamp import triton_kernels as kernels
from adamp.triton_plan import BLOCK, ROWS, SEGMENT

KINDS = {"tensors": "*i64", "dynamic": "*i64", "owners": "*i32", "modes": "*i32", "orders": "*i32"}
KINDS |= dict.fromkeys(("sums", "coefficients", "lr_tensor"), "*fp32")


def compile_kernel(kernel: Any, constants: dict[str, Any]) -> int:
    """Bytes of the machine code."""
    names = kernel.arg_names
    signature = {name: "constexpr" if name in constants else KINDS.get(name, "fp32") for name in names}
    source = ASTSource(kernel, signature, {(names.index(name),): value for name, value in constants.items()})
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"enable_fp_fusion": False})
    # Products and sums must stay apart, or the bits of w1 could differ between two kernels.
    assert "fma.rn.f32" not in compiled.asm["ptx"]
    return len(compiled.asm["cubin"])


def main() -> None:
    found = {}
    algorithms = [
        (True, True, False),
        (True, True, True),
        (False, True, False),
        (False, True, True),
        (False, False, False),
    ]
    for dtype, (is_adam, has_first, nesterov) in product(("float32", "bfloat16"), algorithms):
        common = {"HAS_LR_TENSOR": nesterov, "IS_TWO_STAGE": dtype == "float32"}
        kinds = {"IS_ADAM": is_adam, "HAS_FIRST": has_first, "NESTEROV": nesterov}
        constants = {**common, **kinds, "DTYPE": getattr(kernels.tl, dtype), "SEGMENT": SEGMENT, "BLOCK": BLOCK}
        for kernel in (kernels.sweep, kernels.finish):
            found[f"{kernel.__name__} {dtype} {kinds}"] = compile_kernel(kernel, constants)
        found[f"decide {common}"] = compile_kernel(kernels.decide, {**common, "ROWS": ROWS})
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
