"""How many slots, what each may see, how GPUs are called, and how processes end."""

import sys
from uuid import uuid4

import pytest

from service.config import Settings
from service.errors import ConfigurationError
from service.store.database import Database
from workers.checkpoint_folder import CheckpointFolder
from workers.child import describe_exit, training_environment
from workers.machine import count_cores, slot_environments, visible_gpus
from workers.main import main
from workers.probe import device_model, probe
from workers.supervision import Supervisor


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("NVIDIA H200", "H200"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA A100-SXM4-80GB", "A100"),
        ("NVIDIA A100-PCIE-40GB", "A100"),
        ("Tesla V100-SXM2-16GB", "V100"),
        ("Tesla T4", "T4"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA GeForce RTX 4090", "RTX4090"),
        ("NVIDIA RTX A6000", "RTXA6000"),
        ("NVIDIA H200 MIG 1g.18gb", "H200"),
        ("", "unknown"),
    ],
)
def test_device_class_names_the_model_alone(name, model):
    assert device_model(name) == model


def test_unusable_entry_of_an_allow_list_is_left_out_and_said(monkeypatch):
    monkeypatch.setenv("TANGENT_ALLOWED_WORKLOADS", "nowhere:Nothing")
    found = probe("cpu")
    (problem,) = found["problems"]
    assert problem.startswith("nowhere:Nothing is on the allow-list, but cannot be used: ")
    assert sorted(found["workloads"]) == ["digits-cnn", "digits-mlp"]
    assert found["devices"] == ["cpu"]


def test_each_gpu_slot_sees_one_of_the_gpus_that_its_worker_may_use(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_gpus("gpu", 1) == "1"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4, GPU-7a")
    assert [visible_gpus("gpu", i) for i in range(2)] == ["4", "GPU-7a"]
    assert visible_gpus("cpu", 0) == ""


def test_threads_of_every_numeric_library_are_set():
    environment = training_environment(3, "")
    assert {environment[f"{name}_NUM_THREADS"] for name in ("OMP", "MKL", "OPENBLAS")} == {"3"}


def test_slots_of_a_cpu_worker_have_cores_of_their_own(monkeypatch):
    monkeypatch.setattr("workers.machine.count_cores", lambda: 8)
    assert len(slot_environments("cpu", Settings(slot_threads=3))) == 2
    assert len(slot_environments("cpu", Settings(slot_threads=16))) == 1
    assert len(slot_environments("cpu", Settings(slots=5))) == 5
    assert slot_environments(None, Settings()) == []


def test_cores_of_this_process_are_counted():
    assert count_cores() >= 1


def test_exit_is_described_with_its_signal():
    assert describe_exit(3) == "ended with exit code 3"
    assert describe_exit(-9) == "was killed by signal 9 (SIGKILL)"
    assert describe_exit(-63) == "was killed by signal 63"


def test_worker_without_a_slot_that_starts_says_so(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('libcudart is missing')")
    environment = {**training_environment(1, ""), "PYTHONPATH": f"{tmp_path}:{':'.join(sys.path)}"}
    database = Database("postgresql://", application_name="none")
    supervisor = Supervisor(uuid4(), "cpu", [environment], database, CheckpointFolder(tmp_path))
    try:
        with pytest.raises(ConfigurationError, match="no slot could be started"):
            supervisor.start()
    finally:
        supervisor.stop()
        supervisor.join()


@pytest.mark.parametrize("queues", ["cup", "cpu,gpu"])
def test_impossible_queues_are_refused(queues, capsys):
    with pytest.raises(SystemExit):
        main(["--queues", queues])
    assert "error: " in capsys.readouterr().err


def test_missing_address_is_said_in_one_sentence(monkeypatch, capsys):
    monkeypatch.delenv("TANGENT_DATABASE_URL", raising=False)
    assert main(["--queues", "reports"]) == 2
    assert capsys.readouterr().err.startswith("TANGENT_DATABASE_URL is not set")
