"""Study files on disk: read as YAML 1.2 or JSON, and made from the template."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from service.errors import TangentError


def read_study_file(path: Path) -> dict[str, Any]:
    """The document in a file; its meaning is the API's to judge.

    Raises:
        TangentError: The file cannot be read, or is neither YAML nor JSON with a mapping at its top.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TangentError(f"cannot read {path}: {error}") from error
    return parse_study(text, str(path))


def example(name: str) -> dict[str, Any]:
    """One of the study files that come with Tangent, such as "digits-cnn"."""
    return parse_study((files("service.examples") / f"{name}.yaml").read_text(), name)


def template(name: str, workload: str) -> str:
    """A commented study file to start from."""
    return (files("service.examples") / "template.yaml").read_text().format(name=name, workload=workload)


def parse_study(text: str, source: str) -> dict[str, Any]:
    """Read YAML 1.2 (JSON is part of it); raises TangentError with the place of a mistake in `source`."""
    try:
        document = json.loads(text) if text.lstrip().startswith("{") else YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError, RecursionError) as error:
        raise TangentError(f"{source} is neither YAML nor JSON: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        raise TangentError(f"{source} must hold a mapping at its top, with schema, name, workload and arms")
    try:
        json.dumps(document, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise TangentError(f"{source} holds what a study file cannot: {error} (a date, NaN, binary data?)") from error
    return document
