"""Gates of a job: predicted against measured, floors, and what an earlier network could do."""

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
