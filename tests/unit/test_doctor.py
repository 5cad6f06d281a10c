"""What `tangent doctor` says about the optimizers' step."""

import adamp
from service import doctor


def test_it_says_which_path_steps_on_which_device_and_why():
    found = doctor._adamp_paths()
    assert all(f"on {device} by {path}" in found.text for device, path in adamp.paths().items())
    assert found.verdict == ("ok" if adamp.paths()["cpu"].startswith("native") else "note")


def test_a_slow_path_is_a_note(monkeypatch):
    monkeypatch.setenv("ADAMP_PATH", "torch")
    found = doctor._adamp_paths()
    assert found.verdict == "note"
    assert "on cpu by torch (ADAMP_PATH=torch)" in found.text


def test_a_setting_that_cannot_be_is_told_as_it_is(monkeypatch):
    monkeypatch.setenv("ADAMP_PATH", "fortran")
    assert "ADAMP_PATH must be one of torch, native, triton, got 'fortran'" in doctor._adamp_paths().text
