"""A baseline that is asked the same again and again: it answers from memory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from service.domain.checks import Side
from workers.check.client import Probe


class RecordedProbe(Probe):
    """A side whose answers are kept; for a baseline, of which a second answer to the same request is the same.

    The request is its command and arguments without "given", which a baseline is only given of its own.
    """

    def __init__(self, side: Side, *, role: str, python: str, arguments: Mapping[str, Any], **more: Any) -> None:
        super().__init__(side, role=role, python=python, arguments=arguments, **more)
        self._answers: dict[str, dict[str, Any]] = {}

    def call(self, command: str, *, timeout_s: float, **arguments: Any) -> dict[str, Any]:
        """As `Probe.call`, once for each request."""
        key = json.dumps([command, {name: value for name, value in arguments.items() if name != "given"}])
        if key not in self._answers:
            self._answers[key] = super().call(command, timeout_s=timeout_s, **arguments)
        return self._answers[key]

    def forget(self) -> None:
        """Ask anew from now on."""
        self._answers.clear()
