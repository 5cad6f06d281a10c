"""Files of checkpoints: one for each attempt, taken over by the next."""

import os
from datetime import timedelta
from pathlib import Path

from service.config import Settings
from workers.checkpoint_folder import CheckpointFolder


def test_next_attempt_takes_over_a_copy_that_its_predecessor_cannot_spoil(tmp_path):
    folder = CheckpointFolder(tmp_path)
    first, second = folder.file(7, 1), folder.file(7, 2)
    first.write_text("old")
    assert folder.adopt(folder.describe(first, 5), second) == ""
    (tmp_path / "new").write_text("new")
    (tmp_path / "new").replace(first)
    assert second.read_text() == "old"


def test_why_nothing_is_taken_over_is_said(tmp_path):
    folder = CheckpointFolder(tmp_path / "deep")
    assert folder.adopt(None, folder.file(7, 2)) == "no checkpoint was written before"
    described = {"host": "elsewhere", "path": str(tmp_path / "gone"), "step": 5}
    why = folder.adopt(described, folder.file(7, 2))
    assert why.startswith(f"the checkpoint {tmp_path / 'gone'} of elsewhere cannot be read here: ")


def test_files_of_all_attempts_of_one_trial_are_removed(tmp_path):
    folder = CheckpointFolder(tmp_path)
    for trial, attempt in ((7, 1), (7, 2), (71, 1)):
        folder.file(trial, attempt).touch()
    folder.remove(7)
    assert list(tmp_path.iterdir()) == [folder.file(71, 1)]


def test_files_that_nobody_needed_for_long_are_removed(tmp_path):
    folder = CheckpointFolder(tmp_path)
    for trial in (7, 8):
        folder.file(trial, 1).touch()
    os.utime(folder.file(7, 1), (0, 0))
    folder.remove_old(timedelta(days=1))
    assert list(tmp_path.iterdir()) == [folder.file(8, 1)]


def test_default_folder_lies_in_the_home_of_the_instance(tmp_path):
    assert CheckpointFolder.of(Settings(home=tmp_path)).file(1, 1).parent == tmp_path / "checkpoints"
    assert CheckpointFolder.of(Settings()).file(1, 1).parent == Path(".tangent/checkpoints").absolute()
