"""Seeds: every random number of a study follows from its spec seed and from places, never from ids or arms.

Two kinds are derived. A *draw* is the uniform number behind one dimension of one suggestion: it depends on the
dimension's name, so that arms that share a dimension share its draw (common random numbers). A *training seed*
drives one run: initialisation, data order and split. Training seeds are packed bit fields, so that the banks of
different phases, replicates and spec seeds are disjoint by construction and not by luck.
"""

from __future__ import annotations

import hashlib

from service.domain.trial import Phase

SPEC_SEED_LIMIT = 1 << 24
REPLICATE_LIMIT = 1 << 12
INDEX_LIMIT = 1 << 20

_PHASE_CODE = {Phase.SEARCH: 0, Phase.SELECT: 1, Phase.CONFIRM: 2, Phase.CALIBRATE: 3, Phase.REPRODUCE: 4}


def training_seed(spec_seed: int, replicate: int, phase: Phase, index: int) -> int:
    """Seed of one run; equal for all arms at the same place.

    Args:
        spec_seed: The study file's seed, 0 <= spec_seed < 2**24.
        replicate: Counted from 0, below 4096.
        phase: The run's phase; each has a bank of its own.
        index: The search trial's `cell_number`, or the seed index of a select or confirm run; below 2**20.

    Returns:
        An integer below 2**60, different for every different argument list.

    Raises:
        ValueError: An argument is outside its range.
    """
    _check_range("spec_seed", spec_seed, SPEC_SEED_LIMIT)
    _check_range("replicate", replicate, REPLICATE_LIMIT)
    _check_range("index", index, INDEX_LIMIT)
    return ((spec_seed * REPLICATE_LIMIT + replicate) * 8 + _PHASE_CODE[phase]) * INDEX_LIMIT + index


def stream_seed(seed: int, purpose: str) -> int:
    """Seed of one stream of a run, such as "init", "order" or "split": 64 bits, a hash of both arguments."""
    return int.from_bytes(_digest("stream", seed, purpose)[:8], "big")


def draw(spec_seed: int, replicate: int, cell_number: int, dimension: str) -> float:
    """Uniform number in [0, 1) for one dimension of one suggestion; the same for every arm that has the dimension."""
    bits = int.from_bytes(_digest("draw", spec_seed, replicate, cell_number, dimension)[:8], "big")
    return (bits >> 11) / (1 << 53)


def sampler_seed(spec_seed: int, replicate: int, cell_number: int) -> int:
    """Seed (32 bits) of an adaptive sampler for one suggestion, so that no sampler state has to outlive a process."""
    return int.from_bytes(_digest("sampler", spec_seed, replicate, cell_number)[:4], "big")


def _digest(*parts: object) -> bytes:
    return hashlib.sha256("\x1f".join(str(part) for part in parts).encode()).digest()


def _check_range(name: str, value: int, limit: int) -> None:
    if not 0 <= value < limit:
        raise ValueError(f"{name} must be in [0, {limit}), got {value}")
