"""Tensors in JSON, to the bit: {"$tensor": {"dtype", "shape", "base64"}}."""

import base64
import ctypes
from typing import Any

import torch
from torch import Tensor


def encode(value: Any) -> Any:
    """A copy of nested lists and dicts in which every tensor is JSON."""
    if isinstance(value, Tensor):
        tensor = value.detach().cpu().contiguous()
        data = ctypes.string_at(tensor.data_ptr(), tensor.numel() * tensor.element_size()) if tensor.numel() else b""
        name = str(tensor.dtype).removeprefix("torch.")
        text = base64.b64encode(data).decode()
        return {"$tensor": {"dtype": name, "shape": list(tensor.shape), "base64": text}}
    if isinstance(value, dict):
        return {str(key): encode(entry) for key, entry in value.items()}
    return [encode(entry) for entry in value] if isinstance(value, (list, tuple)) else value


def decode(value: Any) -> Any:
    """What `encode` wrote, with tensors of their own memory on the CPU; tuples have become lists."""
    if isinstance(value, dict):
        if set(value) == {"$tensor"}:
            return _tensor(value["$tensor"])
        return {key: decode(entry) for key, entry in value.items()}
    return [decode(entry) for entry in value] if isinstance(value, list) else value


def _tensor(document: dict[str, Any]) -> Tensor:
    dtype, data = getattr(torch, document["dtype"]), bytearray(base64.b64decode(document["base64"]))
    if not data:
        return torch.empty(document["shape"], dtype=dtype)
    return torch.frombuffer(data, dtype=dtype).reshape(document["shape"])
