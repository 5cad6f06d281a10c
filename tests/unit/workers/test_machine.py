"""How many slots, what each may see, how GPUs are called, and how processes end."""

import os
import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

import pytest

from service.config import Settings
from service.errors import ConfigurationError
from service.store.database import Database
from workers.checkpoint_folder import CheckpointFolder
from workers.child import SlotProcess, describe_exit, training_environment
from workers.machine import count_cores, slot_environments, visible_gpus
from workers.main import main
from workers.messages import SlotName
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


@pytest.mark.parametrize(
    ("ours", "slots", "seen"),
    [
        (None, 0, ["0", "1", "2"]),
        ("5,GPU-7a,2", 0, ["5", "GPU-7a", "2"]),
        (None, 2, ["0", "1"]),
        ("5,GPU-7a,2", 4, ["5", "GPU-7a", "2", "5"]),
    ],
)
def test_gpu_worker_has_one_slot_for_each_gpu_and_its_gpus_are_shared_only_by_request(monkeypatch, ours, slots, seen):
    monkeypatch.setattr("workers.machine.count_gpus", lambda: 3)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if ours is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ours)
    environments = slot_environments("gpu", Settings(slots=slots))
    assert [environment["CUDA_VISIBLE_DEVICES"] for environment in environments] == seen


def environment_of(pid: int) -> list[bytes]:
    """A process's variables; the kernel shows none for a moment while the process is loaded."""
    deadline = time.monotonic() + 10
    while not (variables := Path(f"/proc/{pid}/environ").read_bytes()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return variables.split(b"\0")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_each_slot_process_is_started_with_its_own_gpu_and_no_other():
    worker_id, processes = uuid4(), []
    try:
        for number, gpus in enumerate(("0", "MIG-1")):
            processes.append(SlotProcess(SlotName(worker_id, "gpu", number), training_environment(1, gpus)))
        assert len({process.pid for process in processes}) == 2
        for process, gpus in zip(processes, ("0", "MIG-1"), strict=True):
            assert f"CUDA_VISIBLE_DEVICES={gpus}".encode() in environment_of(process.pid)
    finally:
        for process in processes:
            process.kill()
            process.bury()


def test_gpu_worker_without_a_gpu_says_so(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(ConfigurationError, match="the queue gpu needs a GPU, and torch sees none here"):
        slot_environments("gpu", Settings())


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


def test_missing_address_is_said_in_one_sentence():
    """In a process of its own: a worker's main sets up the logging of the whole process that it runs in."""
    environment = {name: value for name, value in os.environ.items() if name != "TANGENT_DATABASE_URL"}
    command = [sys.executable, "-m", "workers", "--queues", "reports"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("TANGENT_DATABASE_URL is not set")
    assert done.stderr.count("\n") == 1
