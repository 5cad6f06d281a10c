"""What can be compared with what: refs, the working tree, layouts, versions, classes; each side runs its own code."""

import base64
import hashlib
import sys
import zipfile
from pathlib import Path

import pytest

from service.domain.checks import CheckVerdict
from tests.integration.check.support import CONFIG, MISTAKE, TOY, Toybox
from workers.check.config import read_configs
from workers.check.git import Repository
from workers.check.session import Call, check_all
from workers.check.sources import Given, prepare
from workers.check.workspace import Workspace

FAIL = CheckVerdict.FAIL


def sources(toybox: Toybox, baseline: str, candidate: str = ".") -> tuple[str, str]:
    """The package's text on both sides, as their checkouts have it."""
    config = read_configs(toybox.folder)["toy"]
    texts = []
    with Workspace() as workspace:
        for given in (Given("baseline", baseline), Given("candidate", candidate)):
            source = prepare(given, config, workspace, Repository(toybox.folder), lambda _: None)
            assert source.root is not None
            texts.append("".join(path.read_text() for path in sorted((source.root / "toy").rglob("*.py"))))
    toybox.expect_nothing_left()
    return texts[0], texts[1]


def test_two_refs_are_compared_each_with_its_own_code(toybox: Toybox) -> None:
    good = toybox.git("rev-parse", "HEAD")
    toybox.replace(*MISTAKE)
    bad = toybox.commit()
    found = toybox.checked(baseline="HEAD~1", candidate="HEAD")
    assert (found.verdict, found.baseline.revision, found.candidate.revision) == (FAIL, good, bad)
    finding = next(entry for entry in found.layers[0].findings if entry.verdict is FAIL)
    again = f"tangent check --baseline {good[:12]} --candidate {bad[:12]} --config toy --seed 0 --layers numerics"
    assert finding.command == again


def test_the_working_tree_is_taken_with_changes_and_new_files_but_without_deleted_and_ignored_ones(
    toybox: Toybox,
) -> None:
    toybox.write("toy/old.py", "old = 1\n")
    toybox.write(".gitignore", "ignored.py\n")
    toybox.commit()
    (toybox.folder / "toy" / "old.py").unlink()
    toybox.write("toy/new.py", "new = 1\n")
    toybox.write("toy/ignored.py", "ignored = 1\n")
    toybox.replace(*MISTAKE)
    before, now = sources(toybox, "HEAD")
    assert (before, now) == (TOY + "old = 1\n", TOY.replace(*MISTAKE) + "new = 1\n")
    assert Repository(toybox.folder).revision() == toybox.git("rev-parse", "HEAD")[:12] + "-dirty"


def test_edits_during_a_check_do_not_count(toybox: Toybox) -> None:
    with Workspace() as workspace:
        top = workspace.checkout("candidate", Repository(toybox.folder), ".").folder
        toybox.replace(*MISTAKE)
        assert (top / "toy" / "__init__.py").read_text() == TOY


def test_a_flat_package_in_a_folder_of_another_name_is_imported_under_its_own(toybox: Toybox) -> None:
    toybox.git("mv", "toy", "optimizer")
    toybox.write("optimizer/pyproject.toml", '[tool.setuptools]\npackage-dir = { toy = "." }\n')
    toybox.commit()
    toybox.replace('"1.0"', '"1.1"', path="optimizer/__init__.py")
    assert versions(toybox, baseline="HEAD") == ("1.0", "1.1")


def test_a_side_that_imports_its_optimizer_from_elsewhere_is_refused(toybox: Toybox) -> None:
    toybox.write("toy/__init__.py", "from torch.optim import SGD as Toy\n")
    toybox.write("pyproject.toml", (toybox.folder / "pyproject.toml").read_text().replace(", momentum = 0.9", ""))
    outcome, _ = toybox.check(baseline="HEAD")
    assert outcome.exit_code == 4
    assert "not from its own checkout" in outcome.error


def versions(toybox: Toybox, **words: object) -> tuple[str, str]:
    """What each side's package calls itself once it is imported."""
    found = toybox.checked(layers=(), **words)
    assert found.verdict is CheckVerdict.SKIPPED
    return found.baseline.versions["package_version"], found.candidate.versions["package_version"]


def test_a_build_command_runs_in_each_checkout_and_not_in_the_working_tree(toybox: Toybox) -> None:
    toybox.write("build.py", "import pathlib\npathlib.Path('toy/factor.py').write_text('FACTOR = 1\\n')\n")
    toybox.write("pyproject.toml", CONFIG + 'build = ["{python}", "build.py"]\n')
    toybox.commit()
    toybox.replace("= 1", "= 2", path="build.py")
    assert sources(toybox, "HEAD") == (TOY + "FACTOR = 1\n", TOY + "FACTOR = 2\n")
    assert not (toybox.folder / "toy" / "factor.py").exists()


def wheel(folder: Path, version: str, text: str, *requirements: str) -> None:
    """A wheel, written by hand."""
    info = f"toy_wheel-{version}.dist-info"
    lines = ["Metadata-Version: 2.1", "Name: toy-wheel", f"Version: {version}"]
    files = {
        "toy/__init__.py": text,
        f"{info}/METADATA": "\n".join([*lines, *(f"Requires-Dist: {line}" for line in requirements), ""]),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},{digest(text)},{len(text.encode())}\n" for name, text in files.items())
    with zipfile.ZipFile(folder / f"toy_wheel-{version}-py3-none-any.whl", "w") as archive:
        for name, content in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(name, content)


def digest(text: str) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where pip looks, and nowhere else."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_versions_are_installed_side_by_side(toybox: Toybox, wheels: Path) -> None:
    wheel(wheels, "1.0", TOY, "torch>=2")
    wheel(wheels, "1.1", TOY.replace('"1.0"', '"1.1"'), "torch>=2")
    found = toybox.checked(baseline="toy-wheel==1.0", candidate="toy-wheel==1.1", layers=())
    assert [found.baseline.revision, found.candidate.revision] == ["1.0", "1.1"]
    assert [found.baseline.versions["package_version"], found.candidate.versions["package_version"]] == ["1.0", "1.1"]


def test_a_ref_that_needs_more_than_is_installed_gets_an_environment_of_its_own(toybox: Toybox, wheels: Path) -> None:
    wheel(wheels, "2.0", TOY)
    needs = '["torch>=2", "toy-wheel==2.0; python_version > \'3\'", "absent; python_version < \'3\'"]'
    toybox.write("toy/pyproject.toml", f"[project]\nname = 'x'\nversion = '0'\ndependencies = {needs}\n")
    toybox.replace('"1.0"', "__import__('importlib.metadata').metadata.version('toy-wheel')")
    assert versions(toybox, baseline="HEAD") == ("1.0", "2.0")


def test_two_classes_of_this_environment_need_no_repository(tmp_path: Path) -> None:
    call = Call(tmp_path, baseline="torch.optim:Adam", candidate="torch.optim:AdamW", layers=())
    outcome, error = check_all(call, print, print)
    assert error is None
    (made,) = outcome.checks
    assert (made.name, made.baseline.optimizer) == ("adamw", "torch.optim:Adam")
    assert made.candidate.optimizer == "torch.optim:AdamW"
    assert made.candidate.versions["torch"] == made.candidate.revision


def test_a_side_can_have_an_interpreter_of_its_own(toybox: Toybox, tmp_path: Path) -> None:
    other = tmp_path / "python"
    other.write_text(f'#!/bin/sh\necho used >> {tmp_path}/used\nexec {sys.executable} "$@"\n')
    other.chmod(0o755)
    assert versions(toybox, baseline="HEAD", baseline_python=str(other)) == ("1.0", "1.0")
    assert (tmp_path / "used").read_text() == "used\n"


def test_a_branch_that_moves_during_a_check_is_not_followed(toybox: Toybox) -> None:
    first = toybox.git("rev-parse", "HEAD")
    with Workspace() as workspace:
        before = workspace.checkout("baseline", Repository(toybox.folder), "main")
        toybox.replace(*MISTAKE)
        toybox.commit()
        after = workspace.checkout("baseline", Repository(toybox.folder), "main")
    assert before == after
    assert after.revision == first
