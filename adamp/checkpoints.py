"""Loading a state: the authors' keys, private copies, and the precision of 16-bit weights' moments."""

from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import StateDict

from adamp.functional import arithmetic_dtype


def translate(state_dict: StateDict) -> StateDict:
    """The authors' keys in torch's: int `step` -> tensor, `momentum` -> `momentum_buffer`.

    Args:
        state_dict: A state of this package, of torch.optim or of the authors' package 0.3. Not modified.

    Returns:
        A new dict that shares the tensors of `state_dict`.
    """
    state = {key: _translate_entry(entry) for key, entry in state_dict["state"].items()}
    return {**state_dict, "state": state}


def load(optimizer: Optimizer, state_dict: StateDict, torch_load: Callable[[StateDict], None]) -> None:
    """Load `state_dict` by torch's own `torch_load`, translated and with copies of our own.

    The two hooks live for this call: the first runs after the user's pre-hooks and so sees what they made of
    the state, the second before the user's post-hooks.
    """
    loaded: StateDict = {}

    def remember(_: Optimizer, given: StateDict) -> StateDict:
        loaded.update(translate(given))
        return loaded

    def copy(_: Optimizer) -> None:
        _copy_state(optimizer, loaded)

    before = optimizer.register_load_state_dict_pre_hook(remember)
    after = optimizer.register_load_state_dict_post_hook(copy, prepend=True)
    try:
        torch_load(state_dict)
    finally:
        before.remove()
        after.remove()


def _translate_entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    translated = {("momentum_buffer" if key == "momentum" else key): value for key, value in entry.items()}
    if "step" in entry and not isinstance(entry["step"], Tensor):
        translated["step"] = torch.tensor(float(entry["step"]), dtype=torch.float32, device="cpu")
    return translated


def _copy_state(optimizer: Optimizer, loaded: StateDict) -> None:
    """Take each tensor from `loaded` again.

    torch casts moments to the weight's dtype, which would round ours for 16-bit weights, and where it need not
    cast it keeps the given tensor, so that two optimizers would go on writing into one state.
    """
    params = [(p, group.get("capturable", False)) for group in optimizer.param_groups for p in group["params"]]
    keys = chain.from_iterable(group["params"] for group in loaded["param_groups"])
    for (param, capturable), key in zip(params, keys, strict=True):
        for name, value in loaded["state"].get(key, {}).items():
            if isinstance(value, Tensor):
                optimizer.state[param][name] = _own_copy(name, value, param, capturable)


def _own_copy(name: str, value: Tensor, param: Tensor, capturable: bool) -> Tensor:
    if name == "step":
        device = param.device if capturable else "cpu"
        return value.detach().to(device=device, dtype=torch.float32, copy=True)
    if value.shape != param.shape:
        return value.detach().to(device=param.device, dtype=arithmetic_dtype(param.dtype), copy=True)
    # In the weight's memory order, which a checkpoint of a model in another memory format does not have.
    empty = torch.empty_like(param, dtype=arithmetic_dtype(param.dtype), memory_format=torch.preserve_format)
    return empty.copy_(value.detach())
