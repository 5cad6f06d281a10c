"""Identity of a training: what changes it, and what does not."""

import dataclasses
import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from workers import environment as module
from workers.environment import code_revision, content_key, environment

ROOT = Path(__file__).parents[3]


def test_environment_is_json_and_names_versions_and_machine():
    found = json.loads(json.dumps(environment()))
    assert {"python", "torch", "numpy", "sklearn", "adamp", "platform", "cpu", "cuda_device", "n_threads"} <= set(found)
    assert found["n_threads"] == 1
    assert re.match(r"\d+\.\d+", found["adamp"])


def test_key_is_stable_and_completes_options(short_run):
    run = short_run()
    key = content_key(run, "cpu")
    assert re.fullmatch("[0-9a-f]{64}", key)
    spelt_out = dataclasses.replace(run, options={"width": 8, "batch_size": 64, "epochs": 2})
    assert content_key(spelt_out, "cpu") == key


@pytest.mark.parametrize(
    "change",
    [
        {"workload": "digits-cnn"},
        {"options": {"epochs": 3}},
        {"optimizer": "AdamP"},
        {"params": {"lr": 0.02}},
        {"seed": 8},
        {"reads_test_set": True},
    ],
)
def test_key_changes_with_each_field_but_the_device(change, short_run):
    assert content_key(dataclasses.replace(short_run(), **change), "cpu") != content_key(short_run(), "cpu")


def test_key_takes_the_device_class_and_not_the_device(short_run):
    run = short_run()
    assert content_key(dataclasses.replace(run, device="cuda:1"), "cpu") == content_key(run, "cpu")
    assert content_key(run, "cuda:H200") != content_key(run, "cpu")


def test_key_follows_the_code_of_plugins(short_run, plugins, monkeypatch):
    run = short_run("plugged:Lazy", "plugged:Noisy", options={})
    before = content_key(run, "cpu", allowed=plugins)
    path = Path(sys.modules["plugged"].__file__)
    path.write_text(path.read_text() + "\n# changed\n")
    module._hash_of_files.cache_clear()
    assert content_key(run, "cpu", allowed=plugins) != before


@pytest.mark.parametrize("changed", ["workers/training.py", "workers/workloads/digits.py", "service/domain/seeds.py"])
def test_code_revision_follows_the_sources_and_not_their_place(changed, tmp_path, monkeypatch):
    before = code_revision()
    for folder in ("workers", "service/domain"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(module, "_ROOT", tmp_path)
    assert code_revision.__wrapped__() == before
    with (tmp_path / changed).open("a") as file:
        file.write("# changed\n")
    module._hash_of_files.cache_clear()
    assert code_revision.__wrapped__() != before


def test_listed_sources_exist():
    assert all(path.is_file() for path in module._shared_files())
    assert any(path.name == "adam.py" for path in module._adamp_files())
