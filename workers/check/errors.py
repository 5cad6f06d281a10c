"""Why a check cannot be made; the sentence is for the user, the code for the shell."""

from __future__ import annotations

from service.domain.checks import ExitCode
from service.errors import TangentError


class CheckError(TangentError):
    """There is no verdict.

    Attributes:
        exit_code: 2 where the call or the configuration must be changed, 4 where what they name does not work.
        traceback: What to show who asks for it; "" where there is none.
    """

    exit_code = ExitCode.INFRASTRUCTURE

    def __init__(self, sentence: str, traceback: str = "") -> None:
        super().__init__(sentence)
        self.traceback = traceback


class UsageError(CheckError):
    """The call or the configuration says something impossible."""

    exit_code = ExitCode.USAGE


class InfrastructureError(CheckError):
    """A side cannot be had, does not start, or the baseline does not reproduce itself."""
