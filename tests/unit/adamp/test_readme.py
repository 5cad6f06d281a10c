"""Every Python snippet of adamp's README runs, in the order of the page, each on names of the ones before."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

import adamp
from adamp import native

README = (Path(adamp.__file__).parent / "README.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def make_model():
    torch.manual_seed(0)
    return nn.Sequential(nn.ConvTranspose2d(2, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(48, 2))


def train(model, optimizer):
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.randn(4, 2, 2, 2)).square().mean().backward()
        optimizer.step()


def write_authors_checkpoint(path, model):
    """As their package saves it: int steps, their names."""
    state = {
        i: {"step": 3, "exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.ones_like(p)}
        for i, p in enumerate(model.parameters())
    }
    group = {"lr": 0.5, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0, "delta": 0.1, "wd_ratio": 0.1}
    torch.save({"state": state, "param_groups": [{**group, "nesterov": False, "params": list(state)}]}, path)


@pytest.mark.skipif(native.why_not() is not None, reason=f"one snippet wants the native step: {native.why_not()}")
def test_every_snippet_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    model = make_model()
    write_authors_checkpoint("theirs.pt", model)
    names = {"model": model, "torch": torch, "train": train}
    made = []
    for snippet in SNIPPETS:
        exec(compile(snippet, "README.md", "exec"), names)
        if "optimizer" in names and names["optimizer"] not in made:
            train(model, names["optimizer"])
            made.append(names["optimizer"])
    printed = capsys.readouterr().out.splitlines()
    assert len(made) == 5
    assert [type(optimizer).__name__ for optimizer in made] == ["SGDP", "AdamP", "AdamP", "AdamP", "AdamP"]
    assert made[3].param_groups[0]["lr"] == 0.5
    assert printed[0] == str(adamp.paths())
    # The last snippet tells of the last optimizer: four weights of which two can be projected, and two of the norm.
    assert len(printed) == 1 + 6
    assert {line.split()[2] for line in printed[1:]} <= {"NONE", "CHANNEL", "LAYER"}
    assert all(told.n_steps == 0 for told in made[-1].diagnostics().values())


def test_the_readme_names_what_the_package_offers():
    for name in (*adamp.__all__, "channel_dim", "deterministic", "ADAMP_PATH", "fused", "triton", "ziglang"):
        is_internal = name in ("__version__", "Decision", "ParameterDiagnostics")
        assert is_internal or name in README, name
