"""What to check of an optimizer: `[tool.tangent.check.NAME]` in pyproject.toml, read and judged.

One table is one optimizer. Keys that are not listed here are refused.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.domain.checks import Layer
from service.errors import ConfigurationError

Arguments = Mapping[str, Any]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
ObjectName = Annotated[str, Field(pattern=r"^[^:]+:[A-Za-z_]\w*$")]
"""`package.module:Name`, imported as the side has it, or `path/file.py:Name`, from the folder of pyproject.toml."""


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Equivalence(_Table):
    """A case in which the optimizer must do exactly what another one does."""

    name: str = Field(pattern=r"^[a-z0-9-]+$", description='Stable name of the finding, such as "delta-zero-is-adamw".')
    arguments: Arguments = Field({}, description="Constructor arguments of the checked optimizer, over its own.")
    equals: ObjectName = Field(description="The other optimizer: `package:Class` or `path/file.py:Class`.")
    equals_arguments: Arguments = Field({}, description="Its constructor arguments, complete.")
    tolerance: Positive = Field(1e-11, description="Largest error relative to the displacement, in float64.")


class Tolerances(_Table):
    """Limits of the numerics layer; errors are max |theta - ref| over |ref - theta_0|, dimensionless."""

    float64: Positive = Field(1e-11, description="Largest error of a 64-bit trajectory.")
    float32_factor: Positive = Field(8.0, description="A lower precision may err this many times the baseline's error.")
    float32_floor: Positive = Field(1e-6, description="Errors below this always pass in 32 bit.")
    branch: Positive = Field(1e-3, description="Cases whose decision is nearer to its threshold are left out.")


class Margins(_Table):
    """Limits of the training layer, on the log of each endpoint."""

    behaviour: Positive = Field(0.002, description="Train loss of steps 1 to 20, two-sided: beyond it is 'changed'.")
    train_loss: Positive = Field(0.02, description="Train loss over the run: worse by less passes.")
    validation_loss: Positive = Field(0.10, description="Final validation loss: worse by less passes.")


class TrainingWorkload(_Table):
    """A small training run, at arguments that suit the optimizer."""

    name: str = Field(description='A workload of the probe, such as "digits-mlp".')
    arguments: Arguments = Field({}, description="Constructor arguments over the optimizer's own: the tuned optimum.")


class CheckConfig(_Table):
    """One optimizer's check."""

    name: str = Field(description="The table's name; checks of one name form a history.")
    folder: Path = Field(description="The folder of pyproject.toml, from which paths are counted.")
    optimizer: ObjectName = Field(description="`package.module:Class`, a torch.optim.Optimizer.")
    arguments: Arguments = Field({}, description="Constructor arguments besides the parameters, such as lr.")
    path: str | None = Field(
        None, description="Folder of each ref that comes first on sys.path, such as `src`; found where it is not given."
    )
    build: tuple[str, ...] = Field(
        (),
        description="Command run at the top of each ref's worktree before its import; `{python}` is its interpreter.",
    )
    requirements: tuple[str, ...] = Field(
        (),
        description="What each ref needs installed besides this environment: requirement lines, or files in the ref.",
    )
    device: Literal["cpu", "cuda"] = Field(
        "cpu", description="`cpu` or `cuda`, of speed and training; numerics run on the CPU."
    )
    threads: Count = Field(1, description="torch's threads in each side.")
    start_timeout_s: Positive = Field(120.0, description="Longest import and construction of one side.")
    call_timeout_s: Positive = Field(300.0, description="Longest answer of one side; one that takes longer hangs.")
    layers: tuple[Layer, ...] = Field(tuple(Layer), description="The layers that run, in their order.")

    reference: ObjectName | None = Field(
        None,
        description="Judge numerics by this optimizer instead of by the baseline: `package:Class` or `file.py:Class`.",
    )
    reference_arguments: Arguments | None = Field(
        None, description="Its constructor arguments; not given: those of the checked optimizer."
    )
    dimensions: Mapping[str, tuple[Any, ...]] = Field(
        {}, description="Constructor arguments that the grid of numerics varies, each with its values."
    )
    variants: tuple[Arguments, ...] = Field(
        (), description="Constructor arguments that choose a path, such as {fused = false}: trajectories stay the same."
    )
    extras: tuple[Arguments, ...] = Field(
        (), description="Constructor arguments outside the grid, each tried with every kind of gradient."
    )
    equivalences: tuple[Equivalence, ...] = Field((), description="Cases that equal another optimizer exactly.")
    properties: tuple[str, ...] = Field((), description="What must hold: names of the probe's, or `module:function`.")
    interface: bool = Field(
        True,
        description="Whether numerics also compare arguments, refusals, groups, state, loading and copies.",
    )
    methods: tuple[str, ...] = Field(
        (), description="Methods without arguments whose answers the interface compares, in the order of their calls."
    )
    tolerances: Tolerances = Field(default_factory=Tolerances, description="Limits of numerics.")
    steps: Count = Field(12, description="Steps of each case of the grid.")
    long_steps: Count = Field(200, description="Steps of the long case and of the state_dict round trip.")

    speed_limit: Positive = Field(0.10, description="Largest loss of speed, as a ratio minus 1.")
    speed_budget_s: Positive = Field(20.0, description="Longest time for timing bursts.")

    workloads: tuple[TrainingWorkload, ...] = Field((), description="Training runs; none: the layer is skipped.")
    margins: Margins = Field(default_factory=Margins, description="Limits of training.")
    max_pairs: Count = Field(24, description="Paired seeds of each workload at most.")
    anytime: bool = Field(
        False,
        description="Judge training by limits that hold whenever one stops, as a nightly check against a release.",
    )


def read_configs(start: Path) -> dict[str, CheckConfig]:
    """All `[tool.tangent.check.NAME]` of the nearest pyproject.toml at or above `start` that has any, in their order.

    Above the top of a repository none is looked for.

    Returns:
        Empty where there is none.

    Raises:
        ConfigurationError: The file is no TOML, or a table says something impossible.
    """
    for folder in (start.resolve(), *start.resolve().parents):
        path = folder / "pyproject.toml"
        if path.is_file() and (found := read_config_file(path)):
            return found
        if (folder / ".git").exists():
            break
    return {}


def read_config_file(path: Path) -> dict[str, CheckConfig]:
    """All `[tool.tangent.check.NAME]` of one file, in their order; raises as `read_configs`."""
    folder = path.resolve().parent
    return {name: make_config(name, table, folder) for name, table in _tables(path).items()}


def make_config(name: str, table: Mapping[str, Any], folder: Path) -> CheckConfig:
    """One table as a configuration.

    Raises:
        ConfigurationError: It says something impossible; the message names the key and what is allowed.
    """
    where = f"[tool.tangent.check.{name}]"
    if not isinstance(table, Mapping):
        raise ConfigurationError(f"{where} must be a table with `optimizer`")
    if reserved := sorted({"name", "folder"} & set(table)):
        raise ConfigurationError(f"{where} has no key {reserved[0]!r}; it has {_known(CheckConfig)}")
    try:
        return CheckConfig.model_validate({**_with_tuples(table), "name": name, "folder": folder})
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigurationError(_sentence(where, first["loc"], first["type"], first["msg"], first["input"])) from None


def _tables(path: Path) -> Mapping[str, Any]:
    try:
        found: Any = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigurationError(f"{path} is no TOML: {error}") from error
    for key in ("tool", "tangent", "check"):
        found = found.get(key, {})
        if not isinstance(found, Mapping):
            raise ConfigurationError(f"{path}: tool.tangent.check must hold one table for each optimizer")
    tables: Mapping[str, Any] = found
    return tables


def _with_tuples(value: Any) -> Any:
    """TOML's arrays as tuples, which are what the frozen tables keep; layers as `Layer` where they are one."""
    if isinstance(value, Mapping):
        return {key: _layers(entry) if key == "layers" else _with_tuples(entry) for key, entry in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


def _layers(value: Any) -> Any:
    known = {layer.value: layer for layer in Layer}
    return tuple(known.get(entry, entry) for entry in value) if isinstance(value, list) else value


_TABLES: dict[str, type[_Table]] = {
    "equivalences": Equivalence,
    "tolerances": Tolerances,
    "margins": Margins,
    "workloads": TrainingWorkload,
}


def _sentence(where: str, place: tuple[int | str, ...], kind: str, message: str, given: Any) -> str:
    key = ".".join(map(str, place))
    if kind == "extra_forbidden":
        table = _TABLES.get(str(place[0]), CheckConfig) if len(place) > 1 else CheckConfig
        return f"{where} has no key {key!r}; it has {_known(table)}"
    if kind == "missing":
        return f"{where} needs {key!r}"
    if kind == "string_pattern_mismatch":
        message = (
            "it must have the form package.module:Class or path/file.py:Class"
            if "name" not in key
            else "it must be lower-case words joined by -"
        )
    if place[0] == "layers":
        message = f"the layers are {', '.join(Layer)}"
    return f"{where}: {key} = {_plain(given)} is refused: {message[0].lower()}{message[1:]}"


def _plain(value: Any) -> str:
    return repr(list(value) if isinstance(value, tuple) else value)


def _known(table: type[_Table]) -> str:
    hidden: Iterable[str] = ("name", "folder") if table is CheckConfig else ()
    return ", ".join(key for key in table.model_fields if key not in hidden)
