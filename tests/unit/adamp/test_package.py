"""The distribution as its users see it."""

import ast
import sys
import tomllib
from pathlib import Path

import adamp

FOLDER = Path(adamp.__file__).parent


def test_exports_are_complete():
    public = {name for name in vars(adamp) if not name.startswith("_")}
    modules = {path.stem for path in FOLDER.glob("*.py")}
    assert public - modules == set(adamp.__all__) - {"__version__"}
    assert {"AdamP", "SGDP", "SGDW", "__version__"} <= set(adamp.__all__)


def test_the_version_is_the_distributions():
    project = tomllib.loads((FOLDER / "pyproject.toml").read_text())["project"]
    assert adamp.__version__ == project["version"]
    assert adamp.__version__ in (FOLDER / "CHANGELOG.md").read_text()


def imported_roots(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]


def test_only_torch_and_the_standard_library_are_imported():
    modules = (path for path in FOLDER.glob("*.py") if path.name != "setup.py")
    roots = {root for path in modules for root in imported_roots(path)}
    assert roots - set(sys.stdlib_module_names) == {"torch", "adamp"}


def test_no_module_hides_the_package_or_the_standard_library():
    # The folder is flat: a program started in it sees these modules first.
    modules = {path.stem for path in FOLDER.glob("*.py")}
    assert not modules & (set(sys.stdlib_module_names) | {"adamp", "torch"})


def test_the_files_that_installers_and_type_checkers_need_are_there():
    for name in ("py.typed", "LICENSE", "README.md", "CHANGELOG.md"):
        assert (FOLDER / name).exists()
    assert "The Tangent authors" in (FOLDER / "LICENSE").read_text()
