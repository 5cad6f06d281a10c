"""The state of one side: its optimizer's class, and the commands that run with it."""

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from . import tensors
from .commands import COMMANDS


class RefusedError(Exception):
    """The side cannot be used as asked.

    Attributes:
        kind: "import", "absent" (the module has no such name), "construct", "command".
        sentence: For the user.
    """

    def __init__(self, kind: str, sentence: str) -> None:
        super().__init__(sentence)
        self.kind, self.sentence = kind, sentence


class Session:
    """Answers commands; "open" comes first."""

    def __init__(self) -> None:
        self._make: Callable[..., Any] | None = None

    def answer(self, command: str, arguments: dict[str, Any]) -> Any:
        """Run one command; its tensors become JSON.

        Raises:
            RefusedError: The optimizer cannot be imported or made, or there is no such command.
        """
        if command == "open":
            self._make = open_side(**arguments)
            return {}
        if command not in COMMANDS:
            raise RefusedError("command", f"the probe has no command {command!r}; it has {', '.join(COMMANDS)}")
        if self._make is None:
            raise RefusedError("command", "the probe was not opened")
        return tensors.encode(COMMANDS[command](self._make, tensors.decode(arguments)))


def open_side(optimizer: str, arguments: dict[str, Any], paths: list[str], threads: int) -> Callable[..., Any]:
    """Import the optimizer, make one, and return what makes more: `make_optimizer(params, **overrides)`.

    Args:
        optimizer: "package.module:Class" or "path/file.py:Class".
        arguments: Constructor arguments besides the parameters; lists stand for tuples.
        paths: Come first on sys.path.
        threads: torch's.
    """
    sys.path[:0] = paths
    torch.set_num_threads(threads)
    make = maker(optimizer, arguments)
    make([torch.nn.Parameter(torch.ones(2, 2))])
    return make


def maker(optimizer: str, arguments: dict[str, Any]) -> Callable[..., Any]:
    """`make_optimizer(params, **overrides)` for any optimizer; its attribute `optimizer` is the class.

    Raises:
        RefusedError: It cannot be imported; when called: its constructor refuses.
    """
    cls = load_object(optimizer)

    def make_optimizer(params: Any, **overrides: Any) -> Any:
        given = {key: _tupled(value) for key, value in {**arguments, **overrides}.items()}
        try:
            return cls(params, **given)
        except Exception as error:
            words = ", ".join(f"{key}={value!r}" for key, value in given.items())
            sentence = f"{optimizer} refuses its arguments ({words}): {type(error).__name__}: {error}"
            raise RefusedError("construct", sentence) from error

    make_optimizer.optimizer = cls  # type: ignore[attr-defined]
    return make_optimizer


def load_object(name: str) -> Any:
    """Import "package.module:Name", or "path/file.py:Name" from its file.

    Raises:
        RefusedError: The import fails, or there is no such name; the sentence says which.
    """
    place, _, attribute = name.rpartition(":")
    try:
        module = _module_of_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except Exception as error:
        raise RefusedError("import", f"importing {place} fails: {type(error).__name__}: {error}") from error
    try:
        return getattr(module, attribute)
    except AttributeError:
        found = ", ".join(key for key, value in vars(module).items() if isinstance(value, type) and key[0] != "_")
        raise RefusedError("absent", f"{place} has no {attribute!r}; its classes are {found or 'none'}") from None


def _module_of_file(path: Path) -> ModuleType:
    name = f"_tangent_reference_{path.stem}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _tupled(value: Any) -> Any:
    return tuple(map(_tupled, value)) if isinstance(value, list) else value
