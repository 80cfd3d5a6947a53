"""Where plain one-shot magnitude pruning stops, read off the loss along the pruning path.

Only the removed weights change, so every sparsity has one point w_m. The question is whether L(w_m)
<= L(w*) + epsilon. There are two answers:

- *modelled*: by the second-order model of the loss at w*, g^T d + d^T H d / 2 with d = w_m - w*;
- *corrected*: the model times the ratio of the actual loss rise to the modelled one. At the
  threshold itself that product is the actual rise, so the corrected threshold is where the loss
  that was evaluated crosses epsilon. It is a **measurement** on the samples that were evaluated.
  For all training samples it is a **prediction**, as good as those samples represent them. The
  interval covers this error, and how finely the path was looked at.

The loss threshold of a one-shot measurement (:mod:`prunelimit.measurement`) is the same event on
all training samples. None of this tells how accuracy falls along the path: the theory is about the
loss.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

__all__ = ["Crossing", "Rise", "find_crossing", "modelled_crossing"]

COARSE = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 1.0)
"""Sparsities that are tried in turn until one fails. Halving then narrows the crossing down."""

RESOLUTION = 0.0005
"""Fraction of the prunable weights to which a crossing of the actual loss is found."""

MODEL_HALVINGS = 10
"""Halvings of the whole path that find the model's crossing; each is one curvature product."""


@dataclass(frozen=True)
class Rise:
    """Mean loss rise over samples (nats) and its standard error, that of paired differences."""

    mean: float
    standard_error: float

    @classmethod
    def of(cls, before: np.ndarray, after: np.ndarray, everything: int) -> Rise:
        """From the losses (n,) float64 of the same n of ``everything`` samples at w* and at w_m.

        The samples are drawn without replacement, so the error is zero where all samples are used.
        A loss that is not finite is an infinite rise.
        """
        change = np.asarray(after, dtype=np.float64) - before
        mean = float(change.mean())
        if not math.isfinite(mean):
            return cls(math.inf, 0.0)
        left = 1 - len(change) / everything
        if left <= 0:
            return cls(mean, 0.0)
        if len(change) < 2:
            return cls(mean, math.inf)
        return cls(mean, math.sqrt(left / len(change)) * float(change.std(ddof=1)))


@dataclass(frozen=True)
class Crossing:
    """Numbers of removed weights about the one where the loss has risen by epsilon.

    ``holding`` is the largest number that was found within epsilon; all smaller ones that were
    tried are within it too. ``failing`` is the next that is not, None where none fails. ``lowest``
    is the largest number that holds with the sampling error against it. ``highest`` is the largest
    with the error in its favour. ``beyond`` is the next that fails even so; where none does, it is
    the number of prunable weights.
    """

    holding: int
    failing: int | None
    lowest: int
    highest: int
    beyond: int


def find_crossing(
    rise_at: Callable[[int], Rise], prunable: int, epsilon: float, confidence: float
) -> Crossing:
    """Where the rise that ``rise_at`` gives for m of ``prunable`` removed weights reaches epsilon.

    Epsilon decides only which of the tried places hold. So a larger epsilon never gives a smaller
    threshold. ``rise_at`` is called more than once for the same place.
    """
    z = NormalDist().inv_cdf(0.5 + confidence / 2)

    def holds(side: int) -> Callable[[int], bool]:
        def within(removed: int) -> bool:
            rise = rise_at(removed)
            # An error of exactly zero stays zero; an infinite rise always fails.
            return rise.mean + side * z * rise.standard_error <= epsilon

        return within

    holding, failing = _first(holds(0), prunable)
    lowest, _ = _first(holds(1), prunable)
    highest, beyond = _first(holds(-1), prunable)
    return Crossing(holding, failing, lowest, highest, prunable if beyond is None else beyond)


def _first(holds: Callable[[int], bool], prunable: int) -> tuple[int, int | None]:
    low, high = 0, None
    for share in COARSE:
        removed = round(share * prunable)
        if removed > low and not holds(removed):
            high = removed
            break
        low = removed
    if high is None:
        return prunable, None
    step = max(1, math.floor(RESOLUTION * prunable))
    while high - low > step:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low, high


def modelled_crossing(
    modelled_at: Callable[[int], float], prunable: int, epsilon: float
) -> tuple[int, int]:
    """The model's own threshold, in numbers of removed weights: [holding, failing].

    ``modelled_at`` gives the modelled rise for m removed weights and is asked at most
    :data:`MODEL_HALVINGS` + 1 times. Both are ``prunable`` where the model never reaches epsilon.
    """
    if modelled_at(prunable) <= epsilon:
        return prunable, prunable
    low, high = 0, prunable
    for _ in range(MODEL_HALVINGS):
        if high - low <= 1:
            break
        middle = (low + high) // 2
        low, high = (middle, high) if modelled_at(middle) <= epsilon else (low, middle)
    return low, high
