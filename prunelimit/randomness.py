"""Every random draw comes from one seed, and each kind of draw has a stream of its own.

Otherwise two draws by the same seed would be the same. The samples of a criterion, for example,
would be those that judge it.
"""

from __future__ import annotations

import zlib

import numpy as np
import torch

__all__ = ["generator", "numpy_generator"]


def generator(seed: int, stream: str, *places: int) -> torch.Generator:
    """A generator on the CPU for ``stream``, the name of a kind of draw, at ``places`` in it.

    The same arguments give the same draws; other ones give independent draws (NumPy's
    ``SeedSequence``).

    >>> first = torch.rand(1, generator=generator(0, "probes"))
    >>> bool(first == torch.rand(1, generator=generator(0, "probes")))
    True
    >>> bool(first == torch.rand(1, generator=generator(0, "samples")))
    False
    """
    state = _sequence(seed, stream, *places).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]) % 2**63)


def numpy_generator(seed: int, stream: str, *places: int) -> np.random.Generator:
    """As :func:`generator`, for NumPy."""
    return np.random.default_rng(_sequence(seed, stream, *places))


def _sequence(seed: int, stream: str, *places: int) -> np.random.SeedSequence:
    return np.random.SeedSequence((seed, zlib.crc32(stream.encode()), *places))
