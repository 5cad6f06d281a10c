"""What a side is: its versions, where its code lies, its constructor."""

import importlib.metadata
import inspect
import platform
import sys
from collections.abc import Callable
from typing import Any

import torch


def describe(make_optimizer: Callable[..., Any], arguments: dict[str, Any]) -> dict[str, Any]:
    """Versions, file, constructor arguments with their defaults as text, and whether it is a torch optimizer."""
    del arguments
    cls: type = make_optimizer.optimizer  # type: ignore[attr-defined]
    package = cls.__module__.partition(".")[0]
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "package": package,
        "package_version": _version(package),
        "file": inspect.getsourcefile(cls) or "",
        "signature": {
            name: "" if parameter.default is parameter.empty else repr(parameter.default)
            for name, parameter in list(inspect.signature(cls).parameters.items())[1:]
        },
        "is_torch_optimizer": isinstance(cls, type) and issubclass(cls, torch.optim.Optimizer),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "cuda": torch.cuda.get_device_name(0) if torch.cuda.is_available() else "",
    }


def _version(package: str) -> str:
    """The package's own `__version__`, else that of what installed it, else ""."""
    own = getattr(sys.modules.get(package), "__version__", None)
    if isinstance(own, str):
        return own
    names = importlib.metadata.packages_distributions().get(package, [])
    return importlib.metadata.version(names[0]) if names else ""
