"""Why a mutant survives the check alone, judged by hand: what of adamp is no result of a step."""

import re

OTHER = "Not caught by the check"
TOLD = "What a step tells (diagnostics), not what it does"
PRECISE = "More precise than before: costs time and memory, which layer 2 counts"
SIXTEEN = "State of 16-bit weights kept in 16 bit: within 8 times the baseline's own rounding"
UNUSED = "Equivalent: every caller in the package gives the argument"
PLACE = "Equivalent in numbers: where the step count is read, not its value"
SHORTCUT = "Differs only where lr x weight_decay is exactly 1"
DIGITS = "Diagnostics with fewer digits, within the tolerance of numbers that were measured"
DEVICE = "Differs on a GPU only, where none was at hand"
OTHER_CLASS = "Differs for SGDW only, which no table of tool.tangent.check names"
SLOWER = "The same result in more time: a step that could be repeated is made anew, which layer 2 times"
DISTRIBUTED = "Differs for tensors that torch distributes over ranks, where there is one rank"
NO_PATH = "Differs only where the native step is missing"
NO_STEP = "No step runs it: a function for users"

FAKE = "Differs for fake tensors, or under another default device or dtype"
ELSEWHERE = (DEVICE, DISTRIBUTED, OTHER_CLASS, NO_PATH, NO_STEP)
"""What does not show in the checks of this repository on a machine with a CPU alone."""

# (function, what the changed lines must hold, reason), first match counts.
_RULES: list[tuple[str, str, str]] = [
    (r"project_onto_tangent", r"", NO_STEP),
    (r"", r"write_record\(", TOLD),
    (r"arithmetic_dtype", r"or True", PRECISE),
    (r"zeros_for", r"zeros_like", SIXTEEN),
    (r"functional\.(adamp|sgdp)$", r"capturable: bool", UNUSED),
    (r"_step_plain|_step_momentum", r"can_read\(params, None\)|\"capturable\"\] = None", DEVICE),
    (r"_step_momentum", r"View\(", OTHER_CLASS),
    (r"_read_hyper|can_read", r"lr = None|is_here|math.nan|lr_tensor|device.type", DEVICE),
    (r"can_read|_translate_entry", r"has_values|torch.tensor", FAKE),
    (r"has_values", r"", SLOWER),
    (r"_copy_state", r"capturable", DEVICE),
    (r"_own_copy", r"\.to\(dtype|device = |device=None", DEVICE),
    (r"new_record", r"device=None|=dtype, \)|=torch.int64, \)", DEVICE),
    (r"\._record$", r"counts\.to\(None|stats\.to\((None|dtype)", DEVICE),
    (r"\._channel_dim", r"or True", OTHER_CLASS),
    (r"\._state_keys|\._read_settings", r"", SLOWER),
    (r"\._step_anew|\._record$", r"_step_group\(None|device == param.device", SLOWER),
    (r"\._plan$|eager\._tensor", r"has_values|device=None", FAKE),
    (r"\._step_anew", r"is_compiling", "Never repeated, and so slower; or wrong only after a step that failed midway"),
    (r"_bias_corrections", r"math\.sqrt|t = None", DEVICE),
    (
        r"new_record|\._record$|eager\._note",
        r"zeros\(6, d|param\.device, (None)?\)|stats, \)|param, None|dtype and",
        DIGITS,
    ),
    (r"functional\._prepare|eager\._batch$", r"dtype|\.to\(None", SIXTEEN),
    (r"_is_distributed|check_parameters", r"distributed|ranks|DTensor|FullySharded|optimizer of torch", DISTRIBUTED),
    (r"\._note$", r"", SLOWER),
    (r"add_param_group", r"choose_path\(device, None\)", NO_PATH),
    (r"\._repeat$", r"last = None|answer = None|last.step\(None|self.param_groups, None", SLOWER),
    (r"\._repeat$", r"or not self._read|is_fixed and self._read", SLOWER),
    (r"_MomentumOptimizer\._hyper", r"get\(name", OTHER_CLASS),
    (r"projection\.", r"channel_dim: int = 1", UNUSED),
    (r"functional\.", r"capturable", PLACE),
    (r"functional\._decay", r"rate == 1", SHORTCUT),
]


def unseen(function: str, change: list[str]) -> str:
    """The first rule's reason that fits, or OTHER."""
    text = " ".join(change)
    return next((why for of, holds, why in _RULES if re.search(of, function) and re.search(holds, text)), OTHER)
