"""Bad input: one sentence and code 2 or 4, and nothing is left on disk."""

import math
import sys
import time
from collections.abc import Callable

import pytest

from service.domain.checks import Side
from tests.integration.check.support import Toybox
from workers.check.client import Probe


def damage(old: str, new: str) -> Callable[[Toybox], None]:
    return lambda box: box.replace(old, new)


REFUSED: dict[str, tuple[Callable[[Toybox], None], dict[str, object], int, str]] = {
    "absent ref": (lambda _: None, {"baseline": "v9"}, 2, "there is no commit 'v9' in"),
    "option as a ref": (lambda _: None, {"baseline": "--all"}, 2, "there is no commit '--all' in"),
    "absent configuration": (lambda _: None, {"config": "sgd"}, 2, "it has toy"),
    "no package": (
        lambda box: box.git("mv", "toy", "game"),
        {},
        4,
        "there is no package 'toy' in the candidate (.): neither at its top",
    ),
    "package that the baseline has not": (
        lambda _: None,
        {"optimizer": "game.Game", "baseline": "HEAD~0"},
        2,
        "there is no package 'game' in the baseline (HEAD~0): neither at its top",
    ),
    "class that the baseline has not": (lambda _: None, {"optimizer": "toy.Boy"}, 2, "toy has no 'Boy'"),
    "class named as a module": (
        lambda _: None,
        {"baseline": "torch.optim.SGD"},
        2,
        "there is no commit 'torch.optim.SGD' in",
    ),
    "merge conflict": (
        lambda box: conflict(box),
        {},
        2,
        "merge conflicts",
    ),
    "unknown key": (
        lambda box: box.replace("steps = 3", "stesp = 3", "pyproject.toml"),
        {},
        2,
        "has no key 'stesp'; it has optimizer, arguments,",
    ),
    "no TOML": (lambda box: box.write("pyproject.toml", "[tool"), {}, 2, "pyproject.toml is no TOML:"),
    "arguments that the baseline refuses": (
        lambda box: box.replace("lr = 0.1", "lr = -1", "pyproject.toml"),
        {},
        2,
        "toy:Toy refuses its arguments (lr=-1, momentum=0.9): ValueError: lr must be >= 0, got -1",
    ),
    "arguments that the candidate refuses": (
        damage("if lr < 0", "if lr < 1"),
        {},
        4,
        "the candidate (.): toy:Toy refuses its arguments (lr=0.1, momentum=0.9): ValueError",
    ),
    "import fails": (
        damage("import torch", "import torhc"),
        {},
        4,
        "the candidate (.): importing toy fails: ModuleNotFoundError: No module named 'torhc'",
    ),
    "class is gone": (damage("class Toy(", "class Joy("), {}, 4, "toy has no 'Toy'; its classes are Joy"),
    "no optimizer": (
        damage("class Toy(torch.optim.Optimizer)", "class Box:\n    __init__ = print\n\n\nclass Toy(Box)"),
        {},
        4,
        "the candidate (.): toy:Toy is no torch.optim.Optimizer",
    ),
    "no interpreter": (
        lambda _: None,
        {"baseline_python": "python-that-is-not-there"},
        4,
        "the baseline (HEAD): its interpreter python-that-is-not-there cannot be started",
    ),
    "crash on import": (
        damage("import torch", "import os, torch\nos.abort()"),
        {},
        4,
        "the candidate (.) died of SIGABRT during its import",
    ),
    "exit on import": (
        damage("import torch", "import os, torch\nos._exit(3)"),
        {},
        4,
        "the candidate (.) ended with code 3 during its import",
    ),
    "polite exit on import": (
        damage("import torch", "raise SystemExit(0)"),
        {},
        4,
        "the candidate (.)",
    ),
    "hang on import": (
        lambda box: (
            box.replace("start_timeout_s = 60", f"start_timeout_s = {patience_s()}", "pyproject.toml"),
            box.replace("import torch", "import time, torch\ntime.sleep(600)"),
        ),
        {"baseline": "torch.optim:SGD"},
        4,
        "the candidate (.) did not answer within",
    ),
    "a baseline that draws": (
        lambda box: box.replace("param.sub_(", "import os; param.mul_(1 + os.urandom(1)[0] / 1e4); param.sub_("),
        {"baseline": ".", "candidate": "HEAD"},
        4,
        "the baseline does not reproduce itself",
    ),
    "the requirement of a version that pip has not": (
        lambda _: None,
        {"candidate": "toy-that-is-not-there==1.0"},
        4,
        "pip cannot install toy-that-is-not-there==1.0",
    ),
    "build fails": (
        lambda box: box.write("pyproject.toml", _text(box) + 'build = ["{python}", "-c", "raise OSError(7)"]\n'),
        {},
        4,
        "building the baseline (HEAD) failed: OSError: 7",
    ),
}


def patience_s() -> int:
    """Six times what a healthy side takes on this machine now: its baseline must not be late, whatever else runs."""
    began = time.monotonic()
    with Probe(Side("", "torch.optim:SGD", ""), role="baseline", python=sys.executable, arguments={"lr": 0.1}):
        return math.ceil(6 * (time.monotonic() - began))


def _text(box: Toybox) -> str:
    return (box.folder / "pyproject.toml").read_text()


def conflict(box: Toybox) -> None:
    box.git("checkout", "--quiet", "-b", "other")
    box.replace("0.9", "0.8")
    box.commit()
    box.git("checkout", "--quiet", "main")
    box.replace("0.9", "0.7")
    box.commit()
    with pytest.raises(AssertionError):
        box.git("merge", "other")


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_is_one_sentence(toybox: Toybox, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    prepare, words, code, sentence = REFUSED[name]
    prepare(toybox)
    outcome, error = toybox.check(**{"baseline": "HEAD", **words})
    assert sentence in outcome.error
    assert (outcome.exit_code, outcome.checks) == (code, ())
    assert "\n" not in outcome.error
    assert error is not None
