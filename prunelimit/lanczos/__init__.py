"""Lanczos processes and the quadrature read from them."""

from __future__ import annotations

from .basis import BASES, basis_bytes
from .process import Lanczos, Matvec, lanczos
from .quadrature import Bracket, LanczosRun, Outcome, Quadrature, pool
from .store import Store

__all__ = [
    "BASES",
    "Bracket",
    "Lanczos",
    "LanczosRun",
    "Matvec",
    "Outcome",
    "Quadrature",
    "Store",
    "basis_bytes",
    "lanczos",
    "pool",
]
