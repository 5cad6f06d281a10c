"""Finding a package in a checkout, in every common layout, and what it needs."""

from pathlib import Path

import pytest

from workers.check.errors import UsageError
from workers.check.packages import Package, dependencies, digest, find_package

FLAT = '[tool.setuptools]\npackages = ["toy"]\npackage-dir = { toy = "." }\n[project]\ndependencies = ["torch>=2"]\n'


def find(folder: Path, files: dict[str, str], path: str | None = None) -> Package:
    top, links = folder / "top", folder / "links"
    links.mkdir()
    for name, text in files.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(text)
    return find_package(top, "toy", path, links, where="the baseline (main)")


@pytest.mark.parametrize(
    ("files", "path", "place"),
    [
        ({"toy/__init__.py": ""}, None, "top"),
        ({"toy.py": ""}, None, "top"),
        ({"src/toy/__init__.py": "", "toy/__init__.py": ""}, None, "top/src"),
        ({"toy/notes.txt": "", "python/toy/__init__.py": ""}, None, "top/python"),
        ({"libraries/one/src/toy/__init__.py": ""}, None, "top/libraries/one/src"),
        ({"one/toy.py": "", "two/toy.py": ""}, "two", "top/two"),
        ({"toy/__init__.py": "", "toy/pyproject.toml": FLAT}, None, "top"),
        ({"rules/__init__.py": "", "rules/pyproject.toml": FLAT}, None, "links"),
        ({"build/toy.py": "", ".hidden/toy.py": "", "a/toy.py": ""}, None, "top/a"),
    ],
)
def test_the_folder_that_belongs_on_the_path_is_found(
    tmp_path: Path, files: dict[str, str], path: str | None, place: str
) -> None:
    found = find(tmp_path, files, path)
    assert found.path == tmp_path / place
    assert (found.folder / "__init__.py").is_file() or found.folder.is_file()
    assert found.folder.name in ("toy", "toy.py")


@pytest.mark.parametrize(
    ("files", "path", "words"),
    [
        ({"game/__init__.py": ""}, None, "there is no package 'toy' in the baseline \\(main\\): neither"),
        ({"one/toy.py": "", "two/toy.py": ""}, None, r"in several folders of the baseline \(main\) \(one, two\)"),
        ({"toy.py": ""}, "src", "no package 'toy' in the folder 'src' of the baseline"),
    ],
)
def test_what_cannot_be_found_is_said(tmp_path: Path, files: dict[str, str], path: str | None, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        find(tmp_path, files, path)


def test_dependencies_are_those_of_the_nearest_project(tmp_path: Path) -> None:
    outer = '[project]\ndependencies = ["numpy"]\n'
    found = find(tmp_path, {"pyproject.toml": outer, "toy/__init__.py": "", "toy/pyproject.toml": FLAT})
    assert dependencies(found) == ("torch>=2",)
    (tmp_path / "top" / "toy" / "pyproject.toml").unlink()
    assert dependencies(find_package(tmp_path / "top", "toy", None, tmp_path / "links", where=".")) == ("numpy",)


def test_the_digest_follows_names_contents_and_the_project_but_not_what_python_compiled(tmp_path: Path) -> None:
    found = find(tmp_path, {"toy/__init__.py": "a", "toy/part/b.py": "b", "toy/pyproject.toml": FLAT, "notes.txt": ""})
    before, folder = digest(found), tmp_path / "top" / "toy"
    (folder / "part" / "b.pyc").write_text("x")
    (tmp_path / "top" / "notes.txt").write_text("x")
    assert digest(found) == before
    seen = {before}
    for name, text in (("__init__.py", "c"), ("part/c.py", "b"), ("pyproject.toml", FLAT + "\n")):
        (folder / name).write_text(text)
        seen.add(digest(found))
    assert len(seen) == 4
