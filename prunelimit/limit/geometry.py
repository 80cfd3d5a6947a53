"""What is known without curvature, and the limit as the largest feasible number of removals.

There are D free parameters, m removed and s = D - m survivors. R is the l2 norm of what is removed.
Each formula (:mod:`.formulas`) says which m are feasible.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from .effective_dimension import SOURCES, kept

__all__ = [
    "Geometry",
    "Transition",
    "almt_band",
    "between",
    "largest",
    "saturated",
    "solve_ridge",
    "transition",
]

SMALLEST = 1e-300
"""In nats. A smaller loss rise counts as none."""


@dataclass(frozen=True)
class Geometry:
    """What is known without curvature.

    ``dimension`` is D; ``radii`` (P + 1,) float64 holds the l2 norm of the m smallest of the P
    prunable weights for m = 0..P; ``epsilon`` the loss tolerance in nats.
    """

    dimension: int
    radii: np.ndarray
    epsilon: float

    @classmethod
    def of(cls, dimension: int, magnitudes: np.ndarray, epsilon: float) -> Geometry:
        """From the prunable weights (P,), in any order and of any sign."""
        squares = np.sort(np.square(np.asarray(magnitudes, dtype=np.float64)))
        radii = np.sqrt(np.concatenate([[0.0], np.cumsum(squares)]))
        return cls(dimension, radii, epsilon)

    @property
    def prunable(self) -> int:
        """P, the number of prunable weights."""
        return len(self.radii) - 1

    def norm_kept(self, removed: int) -> float:
        """Share of the prunable weights' l2 norm that the survivors have."""
        whole = float(self.radii[-1])
        share = float(self.radii[removed]) / whole if whole > 0 else 0.0
        return math.sqrt(max(0.0, 1 - share**2))


@dataclass(frozen=True)
class Transition:
    """The largest feasible number of removed weights, and how far off each source of error may be.

    ``ends`` holds, per source, how many fewer and how many more weights could go if that source
    alone were at the end of its own interval; ``top`` is the most that can go at all.
    """

    removed: int
    ends: Mapping[str, tuple[int, int]]
    top: int

    @property
    def interval(self) -> tuple[int, int]:
        """The sources together: independent, so their distances add up as squares do."""
        down, up = (
            math.sqrt(sum(each[side] ** 2 for each in self.ends.values())) for side in (0, 1)
        )
        return max(0, self.removed - math.ceil(down)), min(self.top, self.removed + math.ceil(up))

    @property
    def errors(self) -> dict[str, float]:
        """Per source, half the width of the interval that it alone gives."""
        return {source: (down + up) / 2 for source, (down, up) in self.ends.items()}

    def lowered(self, by: int, source: str, down: int = 0) -> Transition:
        """With ``by`` fewer weights removed. The error by ``source`` is then ``by`` on either side,
        or ``down`` on the lower side where that is more."""
        removed = max(0, self.removed - by)
        return Transition(removed, {**self.ends, source: (max(by, down), by)}, self.top)

    def without(self, source: str) -> Transition:
        """Without the error by ``source``."""
        ends = {name: each for name, each in self.ends.items() if name != source}
        return Transition(self.removed, ends, self.top)

    def widened(self, by: int, source: str) -> Transition:
        """With ``by`` more parameters on either side for ``source``."""
        return Transition(self.removed, {**self.ends, source: (by, by)}, self.top)


def saturated(values: np.ndarray, ridge: float) -> np.ndarray:
    """lambda k / (lambda + k), and its limits at k = 0 and infinity."""
    if math.isinf(ridge):
        return values
    return ridge * kept(values, ridge)


def largest(feasible: Callable[[int], bool], top: int) -> int:
    """The largest m in 0..top that is feasible, for a set of feasible m that begins at 0."""
    if feasible(top):
        return top
    low, high = 0, top
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if feasible(middle) else (low, middle)
    return low


def between(geometry: Geometry, first: Transition, second: Transition) -> int:
    """The number removed half way between two limits, in the logarithm of the survivors."""
    survivors = [max(1, geometry.dimension - each.removed) for each in (first, second)]
    return geometry.dimension - round(math.sqrt(survivors[0] * survivors[1]))


def transition(feasible: Callable[[int, int, tuple[str, ...]], bool], top: int) -> Transition:
    def at(side: int, sources: tuple[str, ...]) -> int:
        return largest(lambda m: feasible(m, side, sources), top)

    removed = at(0, ())
    ends = {
        source: (max(0, removed - at(1, (source,))), max(0, at(-1, (source,)) - removed))
        for source in SOURCES
    }
    return Transition(removed, ends, top)


def solve_ridge(rise: Callable[[float], float], epsilon: float, most: float) -> float:
    """The ridge at which the increasing ``rise`` reaches epsilon; inf when it never does."""
    if most <= epsilon:
        return math.inf
    target = math.log(max(epsilon, SMALLEST))

    def excess(log_ridge: float) -> float:
        return math.log(max(rise(math.exp(log_ridge)), SMALLEST)) - target

    low, high = -700.0, 700.0
    if excess(low) > 0:
        return math.exp(low)
    if excess(high) <= 0:
        return math.exp(high)
    return math.exp(float(brentq(excess, low, high, xtol=1e-12)))


def almt_band(dimension: int, confidence: float) -> float:
    """Half-width, in parameters, outside which the transition is decided with ``confidence``.

    a sqrt(D) with a = sqrt(8 log(4 / eta)), eta = 1 - confidence (Amelunxen, Lotz, McCoy, Tropp
    2014, Theorem II).
    """
    return math.sqrt(8 * math.log(4 / (1 - confidence))) * math.sqrt(dimension)
