"""How much memory is free, and how much was taken."""

from __future__ import annotations

import ctypes
import sys

import psutil
import torch
from torch import Tensor

__all__ = [
    "LIBRARIES",
    "RECORDER",
    "RECORDING",
    "available_bytes",
    "give_back",
    "peak_bytes",
    "storage_of",
]

LIBRARIES = 44 * 2**20
"""Bytes of the parts of torch and scipy that any work loads first."""
RECORDER = 117 * 2**20
"""Bytes of the parts of torch that recording loads."""
RECORDING = 4.5
"""Memory at the peak of recording a batch, over the graph that double backward keeps of it."""


def available_bytes(device: torch.device) -> int:
    """Bytes free on ``device``: the GPU's, or what the system can hand out without swapping."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def peak_bytes() -> int:
    """The largest resident size this process has had, in bytes."""
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def give_back() -> None:
    """Hand freed memory back to the system, where the C library can be told to (glibc).

    glibc keeps a heap for each thread, with holes where tensors of mixed sizes were freed. After
    many passes in threads of their own, holes are most of what a process holds.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def storage_of(tensor: Tensor) -> tuple[int, int]:
    """The memory that ``tensor`` lies in: an identifier of it, and its size in bytes.

    >>> tensor = torch.zeros(4, 2)
    >>> storage_of(tensor) == storage_of(tensor[1:]), storage_of(tensor)[1]
    (True, 32)
    """
    storage = tensor.untyped_storage()
    return int(storage._cdata), int(storage.nbytes())
