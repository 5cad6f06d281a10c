import pytest
import torch


@pytest.fixture(autouse=True)
def cuda():
    if not torch.cuda.is_available():
        pytest.skip("NOT RUN: no CUDA device")
