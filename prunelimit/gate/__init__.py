"""Gates of a job: predicted against measured, floors, and a baseline from an earlier network."""

from __future__ import annotations

from .agreement import compare, distances, require_comparable, require_same, target_of
from .judge import judge

__all__ = [
    "compare",
    "distances",
    "judge",
    "require_comparable",
    "require_same",
    "target_of",
]
