"""How much memory is free."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

import torch

__all__ = ["available_bytes", "peak_bytes"]


def available_bytes(device: torch.device) -> int:
    """Bytes free on ``device``: the GPU's, or what the system can hand out without swapping."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def peak_bytes() -> int:
    """The largest resident size this process has had, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
