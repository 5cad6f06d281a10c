"""Why a surviving mutant survives, judged by hand; a rule says which functions and changed lines it speaks of."""

import re

EQUAL_LENGTHS = "Equivalent: `strict` cannot matter, the lists are made with equal lengths (or torch has checked them)"
PRESERVED = "Equivalent: `preserve_format` is the default of zeros_like and empty_like"
ZERO_RATE = "Equivalent: without weight decay the rate is lr times 0"
EXACT_QUOTIENT = "Equivalent: the number of elements is a multiple of the number of channels"
ZERO_DIM = "Equivalent: a 0-dimensional double does not promote a float32 tensor, and is rounded when it meets one"
SHORTCUT = "Equivalent: the condition only skips work whose result is the same (a complex gradient cannot be assigned)"
UNREAD = "Equivalent: a flag that is true in C either way, or a field that the algorithm does not read"
FILLED = "Equivalent: torch fills in the key from the optimizer's defaults first; None is as false as False"
FALSY = "Equivalent: None is as false as False"
FIRST_OF = "Equivalent: only the nearest name is told, however many are looked for"
GROUPED = "Equivalent: how many tensors share a call changes no result; a gradient has its weight's dtype"
SAME_TENSOR = (
    "Equivalent: `to` of the dtype that a tensor has returns the tensor; times 1 and a copy onto itself change none"
)
UNTOLD = "Equivalent: numbers that are not read where the projection is not considered"
ANY_TENSOR = "Equivalent: it does not matter which tensor is described, nor what a call that raises would have returned"
UNDECIDED = "Not killed by the tests as they ran"

# (function, what the changed lines must hold, reason), first match counts.
_RULES = [
    (r"", r"strict=(None|False)|, \)", r"zip\(|strict=True", EQUAL_LENGTHS),
    (r"zeros_for|_own_copy", r"memory_format=None|\), \)$|dtype\), \)", r"memory_format", PRESERVED),
    (r"functional\.", r"weight_decay >= 0|\(weight_decay > 0\) or True", r"weight_decay", ZERO_RATE),
    (r"check_gradients", r"< _STRIDED|_STRIDED and any", r"_STRIDED", SHORTCUT),
    (r"functional\._decay", r"and False", r"rate == 0", SHORTCUT),
    (r"_with_gradients", r"is not None for grad in grads", r"any\(", SHORTCUT),
    (r"_hyper", r"flags|Hyper\(|get\(name, 1", r"flags|Hyper\(|get\(name, 0", UNREAD),
    (r"_copy_state", r"\"capturable\", (None|True)?\)", r"capturable", FILLED),
    (r"write_record", r"/ Decision.CHANNEL", r"CHANNEL", "Equivalent: Decision.CHANNEL is 1"),
    (r"functional\._apply", r"decay >= 0|is not param", r"if ", SHORTCUT),
    (r"_is_distributed", r"flattened\", None\)", r"False", FALSY),
    (r"check_names", r"n=2|hyperparameters, cutoff", r"n=1", FIRST_OF),
    (r"_tells_true", r"zeros\(|PYFUNCTYPE\(None", r"zeros\(|PYFUNCTYPE", ANY_TENSOR),
    (r"_find_describe", r"api__\", \)|c_void_p, py_object, \)", r"", ANY_TENSOR),
    (r"eager\._batches", r"row\[1\]|n_elements", r"", GROUPED),
    (r"eager\._batch$|eager\._momentum_directions", r"and False|or True", r"dtype ==|dampening", SAME_TENSOR),
    (r"eager\._move", r"free = None", r"free = \[\]", FALSY),
    (r"eager\._measure", r"NONE, (1.0, 0.0|0.0, 1.0|0.0, 0.0, None)", r"", UNTOLD),
    (r"channel_threshold", r"numel\(\) / ", r"//", EXACT_QUOTIENT),
    (r"_bias_corrections|functional\.adamp", r"\.to\(None\)|beta2, None", r"dtype", ZERO_DIM),
]


def reason_of(function: str, change: list[str]) -> str:
    """The first rule's reason that fits, or UNDECIDED."""
    before = " ".join(line for line in change if line.startswith("-"))
    after = " ".join(line for line in change if line.startswith("+"))
    for of_function, in_after, in_before, reason in _RULES:
        if re.search(of_function, function) and re.search(in_after, after) and re.search(in_before, before):
            return reason
    return UNDECIDED
