"""The sparsity at which survivors trained to convergence are expected to stop, given the limit.

The limit's own interval is about the number that the model gives: probes, depth, samples. How far
the model is from networks is another question, and only networks answer it. On those of the
evidence table (``benchmarks/prediction.py``) three things foretell the survivors that are needed,
relative to those that the limit needs with the prunable weights alone free:

- How many times the norm of all weights is that of the survivors. Where large weights carry a
  network, as after long training at a high rate, little of the norm is removed and survivors reach
  beyond the limit. Where weights are alike, as after a short training or by Adam at a low rate,
  most of the norm goes and survivors stop short of it.
- How many survivors the isotropic formula needs, relative to those of the limit. It spreads what is
  removed over all directions. The more it needs, the further survivors stop short of the limit.
- The share of weights that the limit keeps. The smaller it is, the further survivors stop short.
"""

from __future__ import annotations

import math
from typing import NamedTuple

__all__ = ["COMPARED", "FEWEST", "Expected", "expected_threshold", "predictors"]

COMPARED = ("directional", "ggn")
"""Formula and operator of the limits that were compared with networks."""

FEWEST = 200
"""Fewest prunable weights of a network of which something is said: one weight is half a percentage
point. The smallest of the table has 2,040."""

NETWORKS = 128
"""Networks of the table whose witness has converged and whose limit leaves no layer empty."""

COEFFICIENTS = (-1.3251, 0.9396, 0.7233, -0.2077)
"""Of a constant and of the three :func:`predictors`, by least squares. Their sum is the logarithm
of survivors held over survivors predicted."""

DEVIATION = 0.1896
"""Standard deviation of the networks about that sum."""

INVERSE = (
    (0.2150, -0.0249, -0.1371, 0.0461),
    (-0.0249, 0.1419, 0.0267, 0.0165),
    (-0.1371, 0.0267, 0.1311, -0.0246),
    (0.0461, 0.0165, -0.0246, 0.0142),
)
"""Inverse of the sums of products of the constant and the predictors over the networks."""

MOST_APART = 0.5
"""Nothing is said beyond this distance from the networks of the table: the variance of the line
over that of a network. The farthest network of the table is at 0.25, the others below 0.2."""

STUDENT = 1.979
"""97.5% quantile of Student's t with four degrees of freedom less than :data:`NETWORKS`."""


class Expected(NamedTuple):
    """The middle and the two ends of the prediction interval, as fractions of the prunable weights.
    The middle is that in the logarithm of the survivors."""

    middle: float
    low: float
    high: float


def predictors(alone: float, norm_kept: float, isotropic: float) -> tuple[float, float, float]:
    """What a threshold is foretold from; the arguments are those of :func:`expected_threshold`."""
    left = max(1e-9, 1 - alone)
    return -math.log(min(1.0, norm_kept)), (1 - isotropic) / left, math.log(left)


def expected_threshold(
    alone: float, norm_kept: float, isotropic: float, errors: tuple[float, float] = (0.0, 0.0)
) -> Expected | None:
    """The converged feasibility threshold of a further network, and its 95% prediction interval.

    ``alone`` is the limit with the prunable weights alone free, a fraction; it may be lower and
    higher by ``errors``. ``norm_kept`` is the share of the prunable weights' l2 norm that is left
    at the limit. ``isotropic`` is the limit of the isotropic formula by the same operator, a
    fraction. The network is presumed to be like those of the table, whose limits are known to less
    than a point. None where nothing is left, or where no network of the table is near.
    """
    if norm_kept <= 0 or alone >= 1:
        return None
    point = (1.0, *predictors(alone, norm_kept, isotropic))
    log = sum(c * p for c, p in zip(COEFFICIENTS, point, strict=True))
    apart = sum(
        p * each * q
        for p, row in zip(point, INVERSE, strict=True)
        for each, q in zip(row, point, strict=True)
    )
    if apart > MOST_APART:
        return None
    half = STUDENT * DEVIATION * math.sqrt(1 + apart)
    left, (down, up) = 1 - alone, errors
    more = math.hypot(half, math.log1p(down / left))
    fewer = math.hypot(half, -math.log1p(-up / left)) if up < left else math.inf
    middle, low, high = (max(0.0, 1 - left * math.exp(log + each)) for each in (0.0, more, -fewer))
    return Expected(middle, low, high)
