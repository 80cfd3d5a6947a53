"""The pruning limit: spectrum + magnitudes + epsilon -> the largest feasible sparsity.

Three formulas for the same phase transition (D free parameters, m removed, s = D - m survivors,
R the l2 norm of what is removed, d_eff(k) = sum_i lambda_i / (lambda_i + k)):

- *paper*: m = sum_i 1 / (1 + R^2 lambda_i / (2 epsilon)), the squared Gaussian width of the loss
  sublevel set seen from the pruned point (Zhang et al. 2024);
- *isotropic*: the smallest quadratic loss that s random directions can reach from a displacement
  of length R spread evenly over the eigenvectors equals epsilon;
- *directional*: the same for the actual displacement d,
  sum_i lambda_i k / (lambda_i + k) d_i^2 / 2 = epsilon with d_eff(k) = s
  (deterministic equivalent of a sketched projection: Derezinski, Liang, Mahoney 2020).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from .effective import SOURCES, EffectiveDimension, kept
from .lanczos import LanczosRun, Quadrature
from .spectrum import operator_values

__all__ = [
    "DirectionalSearch",
    "Geometry",
    "Transition",
    "almt_band",
    "between",
    "isotropic_transition",
    "isotropic_width",
    "paper_transition",
    "paper_width",
]


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
        """With ``by`` fewer weights removed. ``source`` leaves as many open on either side, and
        ``down`` below where that is more."""
        removed = max(0, self.removed - by)
        return Transition(removed, {**self.ends, source: (max(by, down), by)}, self.top)

    def widened(self, by: int, source: str) -> Transition:
        """With ``by`` more parameters on either side for ``source``."""
        return Transition(self.removed, {**self.ends, source: (by, by)}, self.top)


def _saturated(values: np.ndarray, ridge: float) -> np.ndarray:
    """lambda k / (lambda + k), and its limits at k = 0 and infinity."""
    if math.isinf(ridge):
        return values
    return ridge * kept(values, ridge)


def _largest(feasible: Callable[[int], bool], top: int) -> int:
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


def _transition(feasible: Callable[[int, int, tuple[str, ...]], bool], top: int) -> Transition:
    def at(side: int, sources: tuple[str, ...]) -> int:
        return _largest(lambda m: feasible(m, side, sources), top)

    removed = at(0, ())
    ends = {
        source: (max(0, removed - at(1, (source,))), max(0, at(-1, (source,)) - removed))
        for source in SOURCES
    }
    return Transition(removed, ends, top)


def paper_width(geometry: Geometry, effective: EffectiveDimension, radius: float) -> float:
    """Squared Gaussian width (parameters) at distance ``radius``: D - d_eff(2 epsilon / R^2)."""
    return geometry.dimension - effective.bound(_paper_ridge(geometry, radius))


def _paper_ridge(geometry: Geometry, radius: float) -> float:
    return 2 * geometry.epsilon / radius**2 if radius > 0 else math.inf


def paper_transition(geometry: Geometry, effective: EffectiveDimension) -> Transition:
    """m = squared width at R(m), solved exactly over the integers (Zhang et al. 2024, Theorem)."""

    def feasible(m: int, side: int, sources: tuple[str, ...]) -> bool:
        ridge = _paper_ridge(geometry, float(geometry.radii[m]))
        return effective.bound(ridge, side, sources) <= geometry.dimension - m

    return _transition(feasible, geometry.prunable)


def isotropic_width(geometry: Geometry, effective: EffectiveDimension, radius: float) -> float:
    """How many parameters can go at displacement ``radius`` spread evenly: D - d_eff(k) at the
    ridge k where the least reachable loss is epsilon."""

    def rise(ridge: float) -> float:
        return 0.5 * radius**2 * ridge * effective.fraction(ridge)

    ridge = _solve_ridge(rise, geometry.epsilon, 0.5 * radius**2 * effective.mean())
    return geometry.dimension - effective.bound(ridge)


def _solve_ridge(rise: Callable[[float], float], epsilon: float, most: float) -> float:
    """The ridge at which the increasing ``rise`` reaches epsilon; inf when it never does."""
    if most <= epsilon:
        return math.inf
    low, high = -700.0, 700.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if rise(math.exp(middle)) <= epsilon else (low, middle)
    return math.exp((low + high) / 2)


def isotropic_transition(geometry: Geometry, effective: EffectiveDimension) -> Transition:
    """The exact transition for a displacement spread evenly over the eigenvectors."""

    def feasible(m: int, side: int, sources: tuple[str, ...]) -> bool:
        radius = float(geometry.radii[m])
        survivors = geometry.dimension - m
        ridge = effective.ridge(survivors, side, sources)
        if radius == 0 or ridge == 0:
            return True
        if math.isinf(ridge):
            return 0.5 * radius**2 * effective.mean() <= geometry.epsilon
        return 0.5 * radius**2 * ridge * survivors / geometry.dimension <= geometry.epsilon

    return _transition(feasible, geometry.prunable)


class DirectionalSearch:
    """The transition for the actual displacement, by Lanczos runs started at it.

    ``run_at(m)`` returns the run started at the displacement of removing m weights. The spectral
    measure of the displacement's direction changes slowly with m, so a run at the current
    estimate of the transition serves its neighbourhood: runs are added at each new estimate until
    it lies within ``resolution`` (fraction of the prunable weights) and ``of_survivors`` (fraction
    of those) of a run. Between runs the
    logarithm of the reachable loss per squared radius is interpolated in log survivors. ``more``
    says whether there is budget for a further run; the first is made in any case.
    """

    MOST_RUNS = 8

    def __init__(
        self,
        geometry: Geometry,
        run_at: Callable[[int], LanczosRun],
        *,
        resolution: float = 0.001,
        of_survivors: float = 0.05,
        more: Callable[[], bool] = lambda: True,
    ) -> None:
        self.geometry = geometry
        self.runs: dict[int, LanczosRun] = {}
        self._run_at = run_at
        self._resolution = resolution
        self._of_survivors = of_survivors
        self._more = more

    def locate(self, effective: EffectiveDimension, first: int) -> Transition:
        """The transition for the eigenvalues as ``effective`` reads them; ``first`` is a guess."""
        geometry = self.geometry
        lowest = int(np.searchsorted(geometry.radii, 0.0, side="right"))
        if lowest > geometry.prunable:
            everything = geometry.prunable
            return Transition(everything, dict.fromkeys(SOURCES, (0, 0)), everything)
        estimate = min(max(first, lowest), geometry.prunable)
        for _ in range(self.MOST_RUNS):
            if not self._served(estimate):
                if self.runs and not self._more():
                    break
                self.runs[estimate] = self._run_at(estimate)
            estimate = _largest(lambda m: self._feasible(m, effective, 0, ()), geometry.prunable)
            estimate = max(estimate, lowest)
            if self._served(estimate):
                break
        return _transition(
            lambda m, side, sources: self._feasible(m, effective, side, sources),
            geometry.prunable,
        )

    def width(self, effective: EffectiveDimension, removed: int) -> float:
        """How many parameters can go at the displacement of removing ``removed`` weights."""
        radius = float(self.geometry.radii[removed])

        def rise(ridge: float) -> float:
            return 0.5 * radius**2 * math.exp(self._log_mean(removed, effective, ridge, 0, ()))

        most = rise(math.inf) if radius > 0 else 0.0
        ridge = _solve_ridge(rise, self.geometry.epsilon, most)
        return self.geometry.dimension - effective.bound(ridge)

    def _served(self, removed: int) -> bool:
        survivors = self.geometry.dimension - removed
        near = min(self._resolution * self.geometry.prunable, self._of_survivors * survivors)
        return any(abs(removed - at) <= near for at in self.runs)

    def _feasible(
        self, removed: int, effective: EffectiveDimension, side: int, sources: tuple[str, ...]
    ) -> bool:
        radius = float(self.geometry.radii[removed])
        ridge = effective.ridge(self.geometry.dimension - removed, side, sources)
        if radius == 0 or ridge == 0:
            return True
        log_mean = self._log_mean(removed, effective, ridge, side, sources)
        return math.log(0.5) + 2 * math.log(radius) + log_mean <= math.log(self.geometry.epsilon)

    def _log_mean(
        self,
        removed: int,
        effective: EffectiveDimension,
        ridge: float,
        side: int,
        sources: tuple[str, ...],
    ) -> float:
        """Log of the mean of lambda k / (lambda + k) over the displacement's spectral measure."""
        places = sorted(self.runs)
        values = [
            _log_saturated(self.runs[at], effective.operator, ridge, side, sources) for at in places
        ]
        dimension = self.geometry.dimension
        positions = [-math.log(dimension - at + 1) for at in places]
        return float(np.interp(-math.log(dimension - removed + 1), positions, values))


def _log_saturated(
    run: LanczosRun, operator: str, ridge: float, side: int, sources: tuple[str, ...]
) -> float:
    def mean(rule: Quadrature) -> float:
        return float(_saturated(operator_values(rule.ritz_values, operator), ridge) @ rule.weights)

    gauss, radau = mean(run.bracket.gauss), mean(run.bracket.radau)
    value = (gauss + radau) / 2
    if side and "direction" in sources:
        value += side * abs(gauss - radau) / 2
    return math.log(max(value, 1e-300))


def almt_band(dimension: int, confidence: float) -> float:
    """Half-width, in parameters, outside which the transition is decided with ``confidence``.

    a sqrt(D) with a = sqrt(8 log(4 / eta)), eta = 1 - confidence (Amelunxen, Lotz, McCoy, Tropp
    2014, Theorem II).
    """
    return math.sqrt(8 * math.log(4 / (1 - confidence))) * math.sqrt(dimension)
