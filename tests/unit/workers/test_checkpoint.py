"""Checkpoints: the same tree comes back, and anything else gives a reason."""

import math
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from workers import checkpoint


def tree():
    return {
        "model": {"weight": torch.arange(6.0).reshape(2, 3).T, "count": torch.tensor(3), "empty": torch.zeros(0, 2)},
        "state": {0: {"step": torch.tensor(4.0), "half": torch.ones(2, dtype=torch.bfloat16)}, 1: {}},
        "groups": [{"lr": 0.1 + 0.2, "betas": (0.9, 0.999), "foreach": None, "nesterov": True}],
        "generator": torch.get_rng_state(),
        "first_value": math.inf,
    }


def equal(a, b):
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    return type(a) is type(b) and a == b


def test_tree_comes_back_bit_for_bit(tmp_path):
    path = tmp_path / "folder" / "run.ckpt"
    checkpoint.save(path, "run 1", tree())
    loaded, note = checkpoint.load(path, "run 1")
    assert note == ""
    assert equal(loaded, tree())


def test_tensors_that_share_memory_are_saved_apart(tmp_path):
    weight = torch.arange(4.0)
    checkpoint.save(tmp_path / "c", "", {"a": weight, "b": weight, "c": weight[1:]})
    loaded, _ = checkpoint.load(tmp_path / "c", "")
    assert loaded["c"].tolist() == [1.0, 2.0, 3.0]


def test_what_is_no_tree_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(TypeError, match="cannot hold a complex"):
        checkpoint.save(tmp_path / "c", "", {"number": 1j})
    assert list(tmp_path.iterdir()) == []


def test_missing_file_gives_a_reason(tmp_path):
    assert checkpoint.load(tmp_path / "c", "") == (None, "there is no checkpoint here")


def test_foreign_checkpoint_gives_a_reason(tmp_path):
    checkpoint.save(tmp_path / "c", "run 1", tree())
    loaded, note = checkpoint.load(tmp_path / "c", "run 2")
    assert loaded is None
    assert "another run" in note


def test_other_safetensors_file_gives_a_reason(tmp_path):
    save_file({"weight": torch.ones(2)}, tmp_path / "c")
    assert checkpoint.load(tmp_path / "c", "") == (None, "the file is no checkpoint of this version")


@pytest.mark.parametrize("n_kept", [0, 1, 7, 8, 100, -1])
def test_truncated_file_gives_a_reason(n_kept, tmp_path):
    path = tmp_path / "c"
    checkpoint.save(path, "", tree())
    path.write_bytes(path.read_bytes()[:n_kept])
    loaded, note = checkpoint.load(path, "")
    assert loaded is None
    assert note


def test_any_flipped_byte_is_noticed(tmp_path):
    path = tmp_path / "c"
    checkpoint.save(path, "run 1", tree())
    whole = path.read_bytes()
    for position in range(0, len(whole), 97):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x11]) + whole[position + 1 :])
        loaded, note = checkpoint.load(path, "run 1")
        assert loaded is None or equal(loaded, tree()), position
        assert loaded is not None or note, position


def test_pickle_is_never_read(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was executed",))

    (tmp_path / "c").write_bytes(pickle.dumps(Bomb()))
    assert checkpoint.load(tmp_path / "c", "")[0] is None
    torch.save({"a": Bomb()}, tmp_path / "d")
    assert checkpoint.load(tmp_path / "d", "")[0] is None


def test_failed_write_keeps_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "c"
    checkpoint.save(path, "run 1", {"step": 1})

    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="No space"):
        checkpoint.save(path, "run 1", {"step": 2})
    assert checkpoint.load(path, "run 1") == ({"step": 1}, "")
    assert list(tmp_path.iterdir()) == [path]
