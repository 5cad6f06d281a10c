"""Compiles the native step into the wheel; without a compiler the wheel is pure torch."""

# mypy: ignore-errors
# setuptools publishes no types, and this file is not installed.

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent


def load_building() -> ModuleType:
    """The module `building`, without importing the package, which needs torch."""
    spec = importlib.util.spec_from_file_location("adamp_building", HERE / "building.py")
    if spec is None or spec.loader is None:
        raise ImportError("building.py is missing beside setup.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def build_native(folder: Path) -> bool:
    """Put the library into `folder`; False, and a word about it, where it cannot be built."""
    building = load_building()
    for former in folder.glob("_native_*.so"):  # of sources that have changed: setuptools keeps its `build`
        former.unlink()
    try:
        building.build(folder / building.library_name())
    except building.BuildError as error:
        sys.stderr.write(
            f"tangent-adamp: without the native step ({error}); it is compiled on first use, if it can be\n"
        )
        return False
    return True


class BuildWithNative(build_py):
    """Builds the modules, then the library beside them."""

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        """All modules but setup.py, which lies among them because the folder is flat."""
        found: list[tuple[str, str, str]] = super().find_package_modules(package, package_dir)
        return [module for module in found if module[1] != "setup"]

    def run(self) -> None:
        """Build both."""
        super().run()
        if not self.editable_mode:  # a checkout compiles on first use
            build_native(Path(self.build_lib) / "adamp")


class PlatformWheel(bdist_wheel):
    """A wheel of any Python 3 for this platform: the library has a plain C interface."""

    def finalize_options(self) -> None:
        """Not pure where a library will be inside."""
        super().finalize_options()
        self.root_is_pure = not can_build()

    def get_tag(self) -> tuple[str, str, str]:
        """Python 3, no ABI of Python's, this platform."""
        _, _, system = super().get_tag()
        return ("py3", "none", "any" if self.root_is_pure else system)


class NativeDistribution(Distribution):
    """Installs into the platform's folder where there is a library."""

    def has_ext_modules(self) -> bool:
        """Whether a library will be inside."""
        return can_build()


def can_build() -> bool:
    """Whether a compiler is there."""
    building = load_building()
    try:
        building.find_compiler()
    except building.BuildError:
        return False
    return True


setup(cmdclass={"build_py": BuildWithNative, "bdist_wheel": PlatformWheel}, distclass=NativeDistribution)
