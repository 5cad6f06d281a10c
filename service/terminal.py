"""What all commands share: the terminal, common arguments, a client, JSON as output."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer
from rich.console import Console

from service import launch
from service.client import Client
from service.config import load_settings
from service.domain.plain import to_plain

console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
if not console.is_terminal:
    console.width = max(console.width, 120)
errors = Console(stderr=True, highlight=False, soft_wrap=True)

StudyArgument = Annotated[int, typer.Argument(metavar="ID", help="The study's number.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def connected() -> Client:
    """A client for the service that the settings name; closes with its block."""
    return launch.connect(load_settings())


def print_json(document: Any) -> None:
    """JSON on standard output; NaN and infinities as null."""
    sys.stdout.write(json.dumps(to_plain(document), indent=2, allow_nan=False) + "\n")
