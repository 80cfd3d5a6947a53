"""The sparsity at which survivors trained to convergence are expected to stop, given the limit.

The limit's own interval is about the number that the model gives: probes, depth, samples. How far
the model is from networks is another question, and only networks answer it. On those of the
evidence table (``benchmarks/prediction.py``) the survivors that were needed are in proportion to
two things. One is the survivors that the limit needs with the prunable weights alone free. The
other is how many times the norm of all weights is that of the survivors. Where large weights carry
a network, as after long training at a high rate, little of the norm is removed and survivors reach
beyond the limit. Where weights are alike, as after a short training or by Adam at a low rate, most
of the norm goes and survivors stop short of it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

__all__ = ["Expected", "expected_threshold"]

NETWORKS = 96
"""Networks of the table."""

INTERCEPT = -0.461
"""Logarithm of survivors held over survivors predicted, where no norm is removed."""

SLOPE = 0.984
"""What is added per unit of the logarithm of the norm of all weights over that of the survivors."""

DEVIATION = 0.226
"""Standard deviation of the networks about that line."""

CENTRE = 0.490
"""Mean logarithm of the norm of all weights over that of the survivors."""

SPREAD = 9.62
"""Sum of the squared distances of those logarithms from their mean."""

STUDENT = 1.986
"""97.5% quantile of Student's t with :data:`NETWORKS` - 2 degrees of freedom."""


class Expected(NamedTuple):
    """The middle and the two ends of the prediction interval, as fractions of the prunable weights.
    The middle is that in the logarithm of the survivors."""

    middle: float
    low: float
    high: float


def expected_threshold(alone: float, norm_kept: float) -> Expected | None:
    """The converged feasibility threshold of a further network, and its 95% prediction interval.

    ``alone`` is the limit with the prunable weights alone free, a fraction. ``norm_kept`` is the
    share of the prunable weights' l2 norm that is left at the limit. The network is presumed to be
    like those of the table. The interval does not contain the limit's own interval, which is much
    narrower where the limit is reliable. None where nothing is left.
    """
    if norm_kept <= 0:
        return None
    ratio = -math.log(min(1.0, norm_kept))
    half = STUDENT * DEVIATION * math.sqrt(1 + 1 / NETWORKS + (ratio - CENTRE) ** 2 / SPREAD)
    middle, low, high = (
        max(0.0, 1 - (1 - alone) * math.exp(INTERCEPT + SLOPE * ratio + side * half))
        for side in (0, 1, -1)
    )
    return Expected(middle, low, high)
