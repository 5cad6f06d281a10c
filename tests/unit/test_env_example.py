"""`.env.example` says what `Settings` reads, no more and no less, with the same defaults."""

from pathlib import Path

import pytest

from service.config import Settings, load_settings

EXAMPLE = Path(__file__).parents[2] / ".env.example"


def entries() -> dict[str, str]:
    lines = EXAMPLE.read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_example_names_every_setting_once() -> None:
    names = [line.split("=")[0] for line in EXAMPLE.read_text().splitlines() if line and not line.startswith("#")]
    assert sorted(names) == sorted(f"TANGENT_{name.upper()}" for name in Settings.model_fields)


def test_example_loads_to_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in entries():
        monkeypatch.delenv(name, raising=False)
    defaults = load_settings()
    for name, value in entries().items():
        monkeypatch.setenv(name, value)
    assert load_settings() == defaults


def test_example_has_no_secret() -> None:
    secret = {
        name: value for name, value in entries().items() if "TOKEN" in name or "PASSWORD" in name or "URL" in name
    }
    assert set(secret.values()) == {""}
