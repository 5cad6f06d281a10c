"""A fresh small repository for each test."""

import tempfile
from pathlib import Path

import pytest

from tests.integration.check.support import Toybox


@pytest.fixture
def toybox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toybox:
    box = Toybox(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(box.temporary))
    return box
