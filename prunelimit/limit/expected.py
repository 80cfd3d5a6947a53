"""Where survivors that are trained until that converges are expected to stop, given the limit.

The limit's own interval is about the number that the model gives: probes, depth, samples. How far
the model is from networks is another question, and only networks answer it. On those of the
evidence table (``benchmarks/prediction.py``) the survivors held were so many times the survivors
predicted; the logarithm of that ratio varies little between small and large networks, where
percentage points do not.
"""

from __future__ import annotations

import math

__all__ = ["expected_threshold"]

NETWORKS = 46
"""Networks of the table whose limit does not lean on what is not pruned."""

LOG_RATIO = 0.117
"""Mean logarithm of survivors held over survivors predicted."""

DEVIATION = 0.208
"""Its standard deviation over the networks."""

STUDENT = 2.014
"""97.5% quantile of Student's t with :data:`NETWORKS` - 1 degrees of freedom."""


def expected_threshold(sparsity: float) -> tuple[float, float]:
    """The 95% prediction interval for the converged feasibility threshold, fractions, of a further
    network whose limit is ``sparsity``.

    It presumes that the network is like those of the table. The limit's own interval is not in it:
    that is narrow beside it where the limit is reliable.
    """
    half = STUDENT * DEVIATION * math.sqrt(1 + 1 / NETWORKS)
    low, high = (
        max(0.0, 1 - (1 - sparsity) * math.exp(LOG_RATIO + side * half)) for side in (1, -1)
    )
    return low, high
