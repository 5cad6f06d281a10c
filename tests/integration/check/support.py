"""A small repository with an optimizer, and checks of it."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from service.domain.checks import Check
from workers.check.errors import CheckError
from workers.check.output.document import Outcome
from workers.check.session import Call, check_all

TANGENT = Path(sys.executable).parent / "tangent"
TOY = '''"""Momentum with decoupled decay."""

import torch

__version__ = "1.0"


class Toy(torch.optim.Optimizer):
    def __init__(self, params, lr=0.1, momentum=0.9, weight_decay=0.0):
        if lr < 0:
            raise ValueError(f"lr must be >= 0, got {lr}")
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is not None:
                    self.move(param, group)
        return loss

    def move(self, param, group):
        state = self.state[param]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(param)
        buffer = state["momentum_buffer"]
        buffer.mul_(group["momentum"]).add_(param.grad)
        param.mul_(1 - group["lr"] * group["weight_decay"])
        param.sub_(group["lr"] * buffer)
'''
CONFIG = """
[tool.tangent.check.toy]
optimizer = "toy:Toy"
arguments = { lr = 0.1, momentum = 0.9 }
dimensions = { weight_decay = [0.0, 0.1] }
layers = ["numerics"]
steps = 3
long_steps = 12
start_timeout_s = 60
"""
MISTAKE = ("1 - group", "1 + group")
"""The decay's sign."""


class Toybox:
    """A git repository with the optimizer, and the folder for a check's temporary files."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.temporary = folder / "repository", folder / "temporary"
        self.temporary.mkdir(parents=True)
        self.folder.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")
        self.write("pyproject.toml", CONFIG)
        self.write("toy/__init__.py", TOY)
        self.commit("start")

    def git(self, *words: str) -> str:
        identity = {f"GIT_{who}_{what}": "a@b.example" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        nothing = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        environment = {**os.environ, **identity, **nothing}
        done = subprocess.run(
            ["git", *words], cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def write(self, path: str, text: str) -> None:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text(text)

    def replace(self, old: str, new: str, path: str = "toy/__init__.py") -> None:
        text = (self.folder / path).read_text()
        assert old in text
        self.write(path, text.replace(old, new))

    def commit(self, subject: str = "change", *more: str) -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", subject, *(word for text in more for word in ("-m", text)))
        return self.git("rev-parse", "HEAD")

    def check(self, **words: object) -> tuple[Outcome, CheckError | None]:
        """The whole check in this process but for the sides; nothing of it may be left behind."""
        outcome, error = check_all(Call(self.folder, **words), lambda _: None, lambda _: None)  # type: ignore[arg-type]
        self.expect_nothing_left()
        return outcome, error

    def checked(self, **words: object) -> Check:
        """The one report of a check that had a verdict."""
        outcome, error = self.check(**words)
        assert error is None, error
        (made,) = outcome.checks
        return made

    def start(self, *words: str, environment: Mapping[str, str] | None = None) -> "subprocess.Popen[str]":
        """`tangent check`, as a process."""
        return subprocess.Popen(
            [TANGENT, "check", *words],
            cwd=self.folder,
            env={**self.environment(), **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def environment(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if key != "GITHUB_EVENT_PATH"}
        return {**kept, "TMPDIR": str(self.temporary), "NO_COLOR": "1"}

    def run(self, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        process = self.start(*words, environment=environment)
        out, err = process.communicate(timeout=240)
        self.expect_nothing_left()
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def expect_nothing_left(self) -> None:
        assert self.git("worktree", "list").count("\n") == 0
        assert list(self.temporary.glob("tangent-*")) == []
