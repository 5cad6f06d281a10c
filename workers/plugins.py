"""Classes by name: built-in ones, and "module:Class" where the worker's allow-list names exactly that."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


class PluginError(Exception):
    """A class that a run names cannot be used."""


class NotAllowedError(PluginError):
    """The name is neither built in nor on the worker's allow-list."""


class InvalidPluginError(PluginError):
    """The name is allowed, but it cannot be imported or is of the wrong kind."""


def import_class(name: str, built_in: Mapping[str, str], allowed: Sequence[str], base: type[T]) -> type[T]:
    """Import the class that `name` stands for.

    Args:
        name: A key of `built_in`, or "module:Class".
        built_in: Names and their "module:Class".
        allowed: Each "module:Class" that may be imported besides; no patterns.
        base: The class must be a subclass of it.

    Raises:
        NotAllowedError: Nothing was imported.
        InvalidPluginError: The import failed, or the class is no subclass of `base`.
    """
    if name not in built_in and name not in allowed:
        known = ", ".join([*built_in, *allowed])
        raise NotAllowedError(f"{name!r} is not allowed on this worker; it has {known}")
    found = _import(built_in.get(name, name))
    if not (isinstance(found, type) and issubclass(found, base)):
        raise InvalidPluginError(f"{name!r} must be a subclass of {base.__module__}.{base.__qualname__}")
    return found


def _import(path: str) -> Any:
    module, separator, attribute = path.partition(":")
    if not separator or not attribute.isidentifier():
        raise InvalidPluginError(f"{path!r} must have the form module:Class")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise InvalidPluginError(f"{path!r} cannot be imported: {error}") from error
