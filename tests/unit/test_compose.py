"""docker-compose.yml and Dockerfile, as far as they can be judged without a container engine."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from service.config import Settings
from service.queue import QUEUES

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docker-compose.yml").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
FILE = YAML(typ="safe", pure=True).load(TEXT)
SERVICES = FILE["services"]
SECRET = re.compile(r"PASSWORD|TOKEN|SECRET|KEY")
VARIABLE = re.compile(r"(?<!\$)\$\{?([A-Z_]+)(:?[-?+][^}]*)?\}?")
TARGETS = {
    target.split()[-1]: body for target, body in re.findall(r"(FROM [^\n]*)\n(.*?)(?=\nFROM |\Z)", DOCKERFILE, re.S)
}
named = pytest.mark.parametrize("name", SERVICES)


def environment(name):
    return {key: str(value) for key, value in SERVICES[name].get("environment", {}).items()}


def settings_of(name):
    return {key.removeprefix("TANGENT_").lower() for key in environment(name) if key.startswith("TANGENT_")}


def test_all_parts_are_there():
    parts = {"postgres", "redis", "migrate", "api", "coordinator", "worker-cpu", "worker-gpu", "reports"}
    assert set(SERVICES) == parts


def test_every_secret_is_required_and_has_no_default():
    used = [(name, rule or "") for name, rule in VARIABLE.findall(TEXT) if SECRET.search(name)]
    assert {"POSTGRES_PASSWORD", "REDIS_PASSWORD", "TANGENT_API_TOKEN"} <= {name for name, _ in used}
    assert [(name, rule) for name, rule in used if not rule.startswith(":?")] == []


@named
def test_no_password_stands_in_the_file(name):
    for key, value in environment(name).items():
        if SECRET.search(key):
            assert re.fullmatch(r"\$\{[A-Z_]+:\?[^}]+\}", value), key
        for password in re.findall(r"://[^:/]*:([^@]*)@", value):
            assert re.fullmatch(r"\$\{[A-Z_]+:\?[^}]+\}", password), key


@named
def test_every_tangent_variable_is_a_setting(name):
    assert settings_of(name) <= set(Settings.model_fields)


@named
def test_service_has_a_health_check_or_needs_none(name):
    """The API's stands in the image; workers and coordinator say how they are in the ledger; migrate ends."""
    service = SERVICES[name]
    check = service.get("healthcheck")
    if name in ("postgres", "redis"):
        assert check["test"][0] in ("CMD", "CMD-SHELL")
    elif name == "api":
        assert check is None
        assert "HEALTHCHECK" in TARGETS["api"]
    elif service["image"] == "tangent-api" and name != "migrate":
        assert check == {"disable": True}
    else:
        assert "HEALTHCHECK" not in TARGETS["worker"] or name == "migrate"


@pytest.mark.parametrize(
    ("name", "login"),
    [
        ("migrate", "tangent"),
        ("api", "tangent_api"),
        ("coordinator", "tangent_api"),
        ("reports", "tangent_work"),
        ("worker-cpu", "tangent_work"),
        ("worker-gpu", "tangent_work"),
    ],
)
def test_each_process_has_the_login_of_its_rights(name, login):
    assert environment(name)["TANGENT_DATABASE_URL"].startswith(f"postgresql://{login}:")
    if login == "tangent_work":
        assert not [key for key in environment(name) if "SERVICE" in environment(name)[key] or "TOKEN" in key]


def test_queues_are_those_that_hints_name():
    asked = [SERVICES[name]["command"][-1] for name in ("worker-cpu", "worker-gpu", "reports")]
    assert sorted(asked) == sorted(QUEUES)


def test_only_the_api_is_reachable_and_only_from_this_host():
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert list(ports) == ["api"]
    assert all(port.startswith("127.0.0.1:") for port in ports["api"])


def test_named_volumes_exist_and_are_used():
    used = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert used == set(FILE["volumes"])


def test_processes_start_after_the_migration_and_the_engines():
    assert SERVICES["migrate"]["depends_on"]["postgres"] == {"condition": "service_healthy"}
    for name in ("api", "coordinator", "reports", "worker-cpu", "worker-gpu"):
        assert SERVICES[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
        assert SERVICES[name]["depends_on"]["redis"] == {"condition": "service_healthy"}


def test_gpu_worker_is_a_profile_with_a_reservation():
    assert SERVICES["worker-gpu"]["profiles"] == ["gpu"]
    (device,) = SERVICES["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["driver"] == "nvidia"


def test_api_image_installs_no_torch():
    lines = [line for line in (TARGETS["base"] + TARGETS["api"]).splitlines() if line.startswith("RUN pip")]
    assert lines == ["RUN pip install -c requirements.txt ."]
    pyproject = (ROOT / "pyproject.toml").read_text()
    dependencies = re.search(r"\ndependencies = \[(.*?)\n\]", pyproject, re.S)
    assert dependencies is not None
    assert not re.search(r"torch|adamp|scikit", dependencies.group(1))
    assert re.search(r"torch==", TARGETS["worker"])


@pytest.mark.parametrize("target", ["api", "worker"])
def test_images_do_not_run_as_root_and_have_their_target(target):
    assert "\nUSER tangent" in TARGETS[target]
    targets = [service["build"]["target"] for service in SERVICES.values() if "build" in service]
    assert target in targets


def test_stop_gives_workers_time_for_their_checkpoints():
    assert int(SERVICES["worker-cpu"]["stop_grace_period"].removesuffix("s")) > 10


def test_yamllint_is_content():
    rules = "{extends: default, rules: {line-length: {max: 160}, document-start: disable, braces: disable}}"
    command = [sys.executable, "-m", "yamllint", "--strict", "-d", rules, "docker-compose.yml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
