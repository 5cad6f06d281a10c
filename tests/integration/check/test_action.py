"""The GitHub Action: its script as a runner would run it, and what it and the workflow are made of."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.integration.check.support import MISTAKE, TANGENT, Toybox

ROOT = Path(__file__).parents[3]
ACTION: dict[str, Any] = YAML(typ="safe", pure=True).load(ROOT / "action.yml")
STEPS: list[dict[str, Any]] = ACTION["runs"]["steps"]
WORKFLOW: dict[str, Any] = YAML(typ="safe", pure=True).load(ROOT / ".github" / "workflows" / "check.yml")


class Runner:
    """Runs the action's step "Check" in a repository."""

    def __init__(self, toybox: Toybox, folder: Path) -> None:
        self._toybox, self._temporary = toybox, folder / "runner"
        self._temporary.mkdir()
        self.summary, self._output = folder / "summary.md", folder / "output"

    def run(self, **environment: str) -> "subprocess.CompletedProcess[str]":
        step = next(step for step in STEPS if step["name"] == "Check")
        given = {**dict.fromkeys(step["env"], ""), "CANDIDATE": ".", "GITHUB_BASE_REF": "", **environment}
        files = {"RUNNER_TEMP": self._temporary, "GITHUB_STEP_SUMMARY": self.summary, "GITHUB_OUTPUT": self._output}
        path = {"PATH": f"{TANGENT.parent}{os.pathsep}{os.environ['PATH']}"}
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step["run"]],
            cwd=self._toybox.folder,
            env={**self._toybox.environment(), **path, **given, **{key: str(value) for key, value in files.items()}},
            capture_output=True,
            text=True,
            check=False,
        )

    def output(self) -> str:
        return self._output.read_text().strip()

    def junit(self) -> str:
        return (self._temporary / "tangent-check" / "junit.xml").read_text()


@pytest.fixture
def runner(toybox: Toybox, tmp_path: Path) -> Runner:
    return Runner(toybox, tmp_path)


def test_a_bad_pull_request_fails_the_step_and_says_why_in_the_summary(toybox: Toybox, runner: Runner) -> None:
    toybox.git("update-ref", "refs/remotes/origin/main", "HEAD")
    toybox.replace(*MISTAKE)
    toybox.commit()
    done = runner.run(GITHUB_BASE_REF="main")
    assert done.returncode == 1, done.stderr
    assert runner.output() == "exit-code=1"
    assert "## ❌ tangent check toy: FAIL" in runner.summary.read_text()
    assert 'failures="' in runner.junit()


def test_a_push_is_compared_with_the_former_tip(toybox: Toybox, runner: Runner) -> None:
    former = toybox.git("rev-parse", "HEAD")
    toybox.write("toy/notes.txt", "1")
    toybox.commit("one")
    toybox.commit("two")
    done = runner.run(FORMER_TIP=former, ARGUMENTS="--skip-unchanged --layers numerics", CONFIG="toy")
    assert done.returncode == 0, done.stderr
    assert f"against {former[:12]}" in runner.summary.read_text()


def test_an_absent_base_is_said_with_the_way_out(runner: Runner) -> None:
    done = runner.run(GITHUB_BASE_REF="main")
    assert done.returncode == 4
    assert "::error::no merge base with main; check out with fetch-depth: 0" in done.stdout


def test_an_unknown_former_tip_falls_back_to_the_default_baseline(toybox: Toybox, runner: Runner) -> None:
    done = runner.run(FORMER_TIP="0" * 40, BASELINE="")
    assert done.returncode == 4
    assert "there is no baseline" in runner.summary.read_text()


def test_no_expression_of_the_event_is_pasted_into_a_script() -> None:
    assert all("${{" not in step.get("run", "") for step in STEPS)
    assert {step["shell"] for step in STEPS if "run" in step} == {"bash"}


def test_the_workflow_gives_the_action_inputs_that_it_has_and_the_history_that_it_needs() -> None:
    for job in WORKFLOW["jobs"].values():
        uses = [step for step in job["steps"] if "uses" in step]
        (checkout,) = [step for step in uses if step["uses"].startswith("actions/checkout@")]
        assert checkout["with"]["fetch-depth"] == 0
        (own,) = [step for step in uses if step["uses"] == "./"]
        assert set(own["with"]) <= set(ACTION["inputs"])


def test_words_that_the_action_and_the_workflow_pass_are_the_commands() -> None:
    texts = [path.read_text() for path in (ROOT / "action.yml", ROOT / ".ci" / "run")]
    texts += [
        step["with"]["arguments"]
        for job in WORKFLOW["jobs"].values()
        for step in job["steps"]
        if step.get("uses") == "./"
    ]
    words = {word for text in texts for word in re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)}
    told, foreign = help_text(), {"--quiet", "--index-url", "--verify", "--no-install-recommends"}
    assert {word for word in words - foreign if word not in told} == set()


def help_text() -> str:
    """Of the command, plain even where a CI's environment asks for colours."""
    command = [sys.executable, "-m", "workers.check", "--help"]
    done = subprocess.run(
        command, env={**os.environ, "COLUMNS": "200"}, capture_output=True, text=True, check=True, timeout=120
    )
    return re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)


def test_yamllint_is_content() -> None:
    rules = "{extends: default, rules: {line-length: {max: 120}, document-start: disable, truthy: disable}}"
    command = [sys.executable, "-m", "yamllint", "--strict", "-d", rules, "action.yml", ".github"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
