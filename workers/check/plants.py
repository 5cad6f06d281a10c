"""Bugs, and refactors that are none, for the self-test: `plants.toml`, and what applies it to adamp's sources."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from service.domain.checks import Layer
from workers.check.errors import UsageError

_FILE = Path(__file__).with_name("plants.toml")


@dataclass(frozen=True)
class Edit:
    """Replace `old`, which occurs once in `file`, by `new`."""

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Plant:
    """One change of the sources.

    Attributes:
        name: Unique.
        path: "plain" (torch) or "native" (C).
        config: The table of tool.tangent.check that checks it.
        edits: Their files are relative to the package.
        layer: The layer that must fail; None for a refactor, at which none may.
        finding: How the name of a finding that must fail begins; "" for any of the layer.
    """

    name: str
    path: str
    config: str
    edits: tuple[Edit, ...]
    layer: Layer | None = None
    finding: str = ""

    def apply(self, package: Path) -> None:
        """Edit the sources below `package`.

        Raises:
            UsageError: A text does not occur exactly once: the plant must be written anew, or it would test nothing.
        """
        for edit in self.edits:
            path = package / edit.file
            text = path.read_text(encoding="utf-8")
            if (n := text.count(edit.old)) != 1:
                raise UsageError(
                    f"the plant {self.name!r} looks for {edit.old!r}, which occurs {n} times in {edit.file} and not "
                    f"once: write it anew in {_FILE.name}"
                )
            path.write_text(text.replace(edit.old, edit.new), encoding="utf-8")


def read_plants() -> tuple[Plant, ...]:
    """All plants, in the file's order."""
    document = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    return tuple(
        Plant(
            name=entry["name"],
            path=entry["path"],
            config=entry["config"],
            edits=tuple(Edit(**edit) for edit in entry["edits"]),
            layer=Layer(entry["layer"]) if "layer" in entry else None,
            finding=entry.get("finding", ""),
        )
        for entry in document["plant"]
    )
