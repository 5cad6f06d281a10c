"""`tangent check --upload` and `tangent checks` against an API process."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.integration.api.conftest import StartApi
from tests.unit.api.support import TOKEN

TANGENT = Path(sys.executable).parent / "tangent"
CONFIG = """
[tool.tangent.check.plain]
optimizer = "torch.optim:SGD"
arguments = { lr = 0.1 }
layers = ["numerics"]
steps = 2
long_steps = 4
"""
SIDES = ("--baseline", "torch.optim:SGD", "--candidate", "torch.optim:SGD", "--config", "plain")


def tangent(folder: Path, address: str, *words: str) -> "subprocess.CompletedProcess[str]":
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("TANGENT_")}
    environment = {**inherited, "TANGENT_API_URL": address, "TANGENT_API_TOKEN": TOKEN, "NO_COLOR": "1"}
    return subprocess.run(
        [TANGENT, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False
    )


def test_an_uploaded_check_stands_in_the_history_with_its_report(start_api: StartApi, tmp_path: Path) -> None:
    address = start_api().address
    (tmp_path / "pyproject.toml").write_text(CONFIG)
    report = tmp_path / "report.json"
    done = tangent(tmp_path, address, "check", *SIDES, "--upload", "--json", str(report))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "uploaded plain as check 1" in done.stdout
    listed = json.loads(tangent(tmp_path, address, "checks", "plain", "--json").stdout)
    assert [(entry["id"], entry["name"], entry["verdict"]) for entry in listed] == [(1, "plain", "PASS")]
    table = tangent(tmp_path, address, "checks").stdout
    assert "plain" in table
    assert "torch.optim:SGD" in table
    assert "no check was uploaded yet" in tangent(tmp_path, address, "checks", "other").stdout
    with start_api().client() as client:
        assert client.check(1)["report"] == json.loads(report.read_text())["checks"][0]


def test_a_service_that_does_not_answer_is_known_before_the_check_runs(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(CONFIG)
    done = tangent(tmp_path, "http://127.0.0.1:9", "check", *SIDES, "--upload")
    assert (done.returncode, done.stdout) == (4, "")
    assert "no Tangent answers at http://127.0.0.1:9" in done.stderr
    assert "numerics" not in done.stderr
