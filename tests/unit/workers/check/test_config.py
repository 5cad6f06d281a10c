"""[tool.tangent.check.NAME]: what it may say, and how it is refused."""

from pathlib import Path
from typing import Any

import pytest

from service.domain.checks import Layer
from service.errors import ConfigurationError
from workers.check.config import CheckConfig, make_config, read_configs
from workers.check.errors import UsageError
from workers.check.selection import select_configs

REPOSITORY = Path(__file__).parents[4]
GOOD = {"optimizer": "toy:Toy"}


def test_this_repositorys_own_configuration_is_read_in_its_order() -> None:
    assert list(read_configs(REPOSITORY / "adamp" / "csrc")) == ["adamp", "sgdp"]


def test_every_field_is_described() -> None:
    tables = [CheckConfig, *(CheckConfig.model_fields[name].annotation for name in ("tolerances", "margins"))]
    for table in tables:
        assert all(entry.description for entry in table.model_fields.values())  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({}, "needs 'optimizer'"),
        (
            {**GOOD, "optimizer": "toy.Toy"},
            "optimizer = 'toy.Toy' is refused: it must have the form package.module:Class",
        ),
        ({**GOOD, "speed": 1}, "has no key 'speed'; it has optimizer, arguments, path"),
        ({**GOOD, "name": "x"}, "has no key 'name'"),
        ({**GOOD, "layers": ["numerics", "colour"]}, "the layers are numerics, speed, training"),
        ({**GOOD, "layers": "numerics"}, "layers"),
        ({**GOOD, "margins": {"loss": 1}}, "has no key 'margins.loss'; it has behaviour, train_loss, validation_loss"),
        ({**GOOD, "steps": 0}, "steps = 0 is refused"),
        ({**GOOD, "steps": 1.5}, "steps = 1.5 is refused"),
        ({**GOOD, "speed_limit": float("nan")}, "speed_limit = nan is refused"),
        ({**GOOD, "equivalences": [{"name": "Bad Name", "equals": "a:B"}]}, "lower-case words joined by -"),
        ("toy:Toy", "must be a table with `optimizer`"),
    ],
)
def test_what_a_table_cannot_say_is_refused_with_its_key(table: Any, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make_config("toy", table, Path())
    assert words in str(caught.value)
    assert str(caught.value).startswith("[tool.tangent.check.toy]")


def test_a_table_keeps_toml_arrays_as_tuples_and_layers_as_layers() -> None:
    made = make_config("toy", {**GOOD, "layers": ["speed"], "dimensions": {"betas": [[0.9, 0.99], [0.8, 0.9]]}}, Path())
    assert made.layers == (Layer.SPEED,)
    assert made.dimensions == {"betas": ((0.9, 0.99), (0.8, 0.9))}


def test_the_nearest_file_with_a_table_counts_and_none_above_the_repository(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.tangent.check.outer]\noptimizer = "a:B"\n')
    inner = tmp_path / "repository" / "part"
    inner.mkdir(parents=True)
    (inner / "pyproject.toml").write_text('[project]\nname = "part"\n')
    assert list(read_configs(inner)) == ["outer"]
    (tmp_path / "repository" / ".git").mkdir()
    assert read_configs(inner) == {}


def configs() -> dict[str, CheckConfig]:
    return {name: make_config(name, {"optimizer": f"toy:{name.title()}"}, Path()) for name in ("toy", "joy")}


@pytest.mark.parametrize(
    ("name", "optimizer", "found"),
    [
        (None, None, ["toy", "joy"]),
        ("joy", None, ["joy"]),
        ("joy", "toy.Joy", ["joy"]),
        (None, "toy:Joy", ["joy"]),
        (None, "toy.sub.Other", ["other"]),
    ],
)
def test_configurations_are_chosen_by_name_or_class(name: str | None, optimizer: str | None, found: list[str]) -> None:
    assert [entry.name for entry in select_configs(configs(), Path(), name=name, optimizer=optimizer)] == found


@pytest.mark.parametrize(
    ("known", "name", "optimizer", "words"),
    [
        (True, "boy", None, "has no [tool.tangent.check.boy]; it has toy, joy"),
        (True, "joy", "toy.Toy", "--config joy is of toy:Joy"),
        (True, None, "Toy", "must have the form package.Class"),
        (False, None, None, "nothing says which optimizer to check"),
    ],
)
def test_a_choice_that_names_nothing_is_refused(
    known: bool, name: str | None, optimizer: str | None, words: str
) -> None:
    with pytest.raises(UsageError) as caught:
        select_configs(configs() if known else {}, Path(), name=name, optimizer=optimizer)
    assert words in str(caught.value)
