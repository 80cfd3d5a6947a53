"""The fall in accuracy between two networks on the same samples."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..inputs.problem import Evaluation

__all__ = ["Drop", "paired_drop"]


@dataclass(frozen=True)
class Drop:
    """``mean`` is the accuracy lost, a fraction; ``standard_error`` that of the mean."""

    mean: float
    standard_error: float


def paired_drop(before: Evaluation, after: Evaluation) -> Drop:
    """Accuracy of ``before`` less that of ``after``.

    The error is paired: it comes from the samples on which the two differ (ddof 1).
    """
    change = before.correct.astype(float) - after.correct.astype(float)
    error = float(change.std(ddof=1)) / math.sqrt(len(change)) if len(change) > 1 else 0.0
    return Drop(float(change.mean()), error)
