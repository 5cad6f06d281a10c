"""Files of checkpoints: one for each attempt, taken over by the next."""

import json
import os
from datetime import timedelta
from pathlib import Path

import pytest

from service.config import Settings
from service.errors import ConfigurationError
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


@pytest.mark.parametrize("scheme", ["memory://shared-{}", "file://{}/shared", "local://{}/shared", "dir://{}/shared"])
def test_checkpoint_at_a_url_is_found_by_another_host_and_removed_with_its_trial(tmp_path, scheme):
    """Two hosts: neither has the other's folder, both have the URL."""
    url = f"dir::file://{tmp_path}/shared" if scheme.startswith("dir") else scheme.format(tmp_path)
    one, two = (CheckpointFolder.of(Settings(home=tmp_path / name, checkpoint_dir=url)) for name in ("one", "two"))
    first, second = one.file(7, 1), two.file(7, 2)
    first.parent.mkdir(parents=True)
    first.write_bytes(b"five steps")
    described = one.describe(first, 5)
    assert described["step"] == 5
    first.unlink()
    assert two.adopt(json.loads(json.dumps(described)), second) == ""
    assert second.read_bytes() == b"five steps"
    one.remove(70)
    assert two.adopt(described, second) == ""
    two.remove(7)
    assert "cannot be read here" in two.adopt(described, second)
    assert not second.exists()


def test_old_checkpoints_at_a_url_go_and_young_ones_stay(tmp_path):
    folder = CheckpointFolder.of(Settings(home=tmp_path / "home", checkpoint_dir=f"file://{tmp_path}/shared"))
    for number in (1, 2):
        folder.file(number, 1).parent.mkdir(parents=True, exist_ok=True)
        folder.file(number, 1).write_bytes(b"x")
        assert folder.describe(folder.file(number, 1), 1)
    os.utime(tmp_path / "shared" / "trial-1-attempt-1.safetensors", (0, 0))
    folder.remove_old(timedelta(days=1))
    assert [path.name for path in (tmp_path / "shared").iterdir()] == ["trial-2-attempt-1.safetensors"]


def test_url_that_cannot_be_written_costs_the_checkpoint_and_not_the_training(tmp_path, caplog):
    (tmp_path / "file").write_text("no folder")
    folder = CheckpointFolder.of(Settings(home=tmp_path, checkpoint_dir=f"file://{tmp_path}/file/below"))
    folder.file(1, 1).parent.mkdir()
    folder.file(1, 1).write_bytes(b"x")
    assert folder.describe(folder.file(1, 1), 3) is None
    assert "the checkpoint of step 3 cannot be copied" in caplog.text


def test_unknown_scheme_is_one_sentence(tmp_path):
    with pytest.raises(ConfigurationError, match="TANGENT_CHECKPOINT_DIR=nonsense://x cannot be used"):
        CheckpointFolder.of(Settings(home=tmp_path, checkpoint_dir="nonsense://x"))
