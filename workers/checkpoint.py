"""Checkpoints: safetensors for tensors and JSON for the rest, in one file, without pickle.

A checkpoint holds a *tree*: dicts, lists, tuples, None, bools, numbers and texts, with tensors as leaves. Reading gives
the same tree, bit for bit, with all tensors on the CPU.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

_FORMAT = "tangent-checkpoint-1"


def save(path: Path, identity: str, tree: Any) -> None:
    """Write a checkpoint so that `path` holds either the old one or the whole new one, also after a power cut.

    Args:
        path: The file; its folder is made where it is missing.
        identity: What the checkpoint belongs to; `load` asks for the same text.
        tree: As the module says.

    Raises:
        TypeError: The tree holds something else.
        OSError: The disk refuses.
    """
    tensors: dict[str, Tensor] = {}
    document = json.dumps(_pack(tree, tensors))
    metadata = {"format": _FORMAT, "identity": identity, "tree": document, "digest": _digest(document, tensors)}
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        _write(tensors, Path(name), metadata)
        _sync(Path(name))
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync(path.parent)


def _write(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
    """As save_file, but what the disk refuses is an OSError, of which safetensors gives only the text."""
    try:
        save_file(tensors, path, metadata=metadata)
    except SafetensorError as error:
        number = re.search(r"\(os error (\d+)\)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error


def load(path: Path, identity: str) -> tuple[Any | None, str]:
    """Read a checkpoint.

    Returns:
        (tree, "") where the file is whole and belongs to `identity`; else (None, why not).
    """
    if not path.is_file():
        return None, "there is no checkpoint here"
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except (SafetensorError, OSError, ValueError) as error:
        return None, f"the checkpoint cannot be read: {error}"
    if metadata.get("format") != _FORMAT:
        return None, "the file is no checkpoint of this version"
    if metadata.get("digest") != _digest(metadata.get("tree", ""), tensors):
        return None, "the checkpoint is damaged: its digest does not match"
    if metadata.get("identity") != identity:
        return None, "the checkpoint belongs to another run or another code revision"
    return _unpack(json.loads(metadata["tree"]), tensors), ""


def _pack(node: Any, tensors: dict[str, Tensor]) -> Any:
    """The JSON form of a node; its tensors go into `tensors`, each with memory of its own."""
    if isinstance(node, Tensor):
        key = str(len(tensors))
        tensors[key] = node.detach().to("cpu", copy=True).contiguous()
        return {"tensor": key}
    if isinstance(node, Mapping):
        return {"items": [[_pack(key, tensors), _pack(value, tensors)] for key, value in node.items()]}
    if isinstance(node, (list, tuple)):
        return {type(node).__name__: [_pack(value, tensors) for value in node]}
    if node is None or isinstance(node, (bool, int, float, str)):
        return node
    raise TypeError(f"a checkpoint cannot hold a {type(node).__name__}")


def _unpack(node: Any, tensors: Mapping[str, Tensor]) -> Any:
    if not isinstance(node, dict):
        return node
    (kind, content), *_ = node.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "items":
        return {_unpack(key, tensors): _unpack(value, tensors) for key, value in content}
    values = [_unpack(value, tensors) for value in content]
    return tuple(values) if kind == "tuple" else values


def _digest(document: str, tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(document.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
