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
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from .lanczos import LanczosRun, Quadrature
from .spectrum import SHALLOWER, Spectrum, operator_values

__all__ = [
    "DirectionalSearch",
    "EffectiveDimension",
    "Geometry",
    "Transition",
    "almt_band",
    "isotropic_transition",
    "isotropic_width",
    "paper_transition",
    "paper_width",
]

SOURCES = ("probe", "depth")
"""What the interval of a transition covers: the choice of probes, and the Lanczos depth."""


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
    """The largest feasible number of removed weights, its interval, and what makes it wide.

    ``errors`` holds, per source of error, half the width of the interval that it alone gives.
    """

    removed: int
    interval: tuple[int, int]
    errors: dict[str, float]


class EffectiveDimension:
    """d_eff(k) = D * mean of lambda / (lambda + k), with its error, and its inverse.

    ``side`` +1 and -1 give the upper and lower end of the interval at ``confidence``; ``sources``
    says which errors it covers.
    """

    def __init__(self, spectrum: Spectrum, operator: str, confidence: float) -> None:
        self.spectrum = spectrum
        self.operator = operator
        self.dimension = spectrum.dimension
        self._z = float(norm.ppf(0.5 + confidence / 2))
        self._rule = self._read(spectrum.quadrature())
        exhausted = all(run.outcome.name == "INVARIANT" for run in spectrum.runs)
        shares = () if exhausted else SHALLOWER
        self._shallower = [self._read(spectrum.quadrature(share)) for share in shares]

    def _read(self, rule: Quadrature) -> Quadrature:
        return Quadrature(operator_values(rule.ritz_values, self.operator), rule.weights)

    def fraction(self, ridge: float) -> float:
        """Mean of lambda / (lambda + ridge), in [0, 1]."""
        return _mean_kept(self._rule, ridge)

    def error(self, ridge: float, sources: tuple[str, ...] = SOURCES) -> float:
        """Half-width of the interval of :meth:`fraction`."""
        total = 0.0
        if "probe" in sources:
            total += self._z * self.spectrum.probe_deviation(
                lambda values: _kept(operator_values(values, self.operator), ridge)
            )
        if "depth" in sources and self._shallower:
            deepest = self.fraction(ridge)
            total += max(abs(_mean_kept(rule, ridge) - deepest) for rule in self._shallower)
        return total

    def bound(self, ridge: float, side: int = 0, sources: tuple[str, ...] = SOURCES) -> float:
        """d_eff at ``ridge``, or an end of its interval."""
        fraction = self.fraction(ridge)
        if side:
            fraction += side * self.error(ridge, sources)
        return self.dimension * min(1.0, max(0.0, fraction))

    def ridge(self, survivors: float, side: int = 0, sources: tuple[str, ...] = SOURCES) -> float:
        """k with d_eff(k) = ``survivors``; 0 when even k -> 0 gives fewer, inf for none."""
        if survivors <= 0:
            return math.inf
        values = self._rule.ritz_values
        positive = values[values > 0]
        if not positive.size:
            return 0.0
        low = math.log(float(positive.min())) - 40.0
        high = math.log(float(positive.max())) + math.log(self.dimension / survivors + 1) + 40.0
        if self.bound(math.exp(low), side, sources) <= survivors:
            return 0.0
        if self.bound(math.exp(high), side, sources) > survivors:
            return math.inf
        for _ in range(64):
            middle = (low + high) / 2
            if self.bound(math.exp(middle), side, sources) > survivors:
                low = middle
            else:
                high = middle
        return math.exp((low + high) / 2)


def _kept(values: np.ndarray, ridge: float) -> np.ndarray:
    if math.isinf(ridge):
        return np.zeros_like(values)
    if ridge <= 0:
        return (values > 0).astype(np.float64)
    return values / (values + ridge)


def _mean_kept(rule: Quadrature, ridge: float) -> float:
    return float(_kept(rule.ritz_values, ridge) @ rule.weights)


def _saturated(values: np.ndarray, ridge: float) -> np.ndarray:
    """lambda k / (lambda + k), and its limits at k = 0 and infinity."""
    if math.isinf(ridge):
        return values
    return ridge * _kept(values, ridge)


def _largest(feasible: Callable[[int], bool], top: int) -> int:
    """The largest m in 0..top that is feasible, for a set of feasible m that begins at 0."""
    if feasible(top):
        return top
    low, high = 0, top
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if feasible(middle) else (low, middle)
    return low


def _transition(feasible: Callable[[int, int, tuple[str, ...]], bool], top: int) -> Transition:
    def at(side: int, sources: tuple[str, ...] = SOURCES) -> int:
        return _largest(lambda m: feasible(m, side, sources), top)

    removed = at(0)
    errors = {source: (at(-1, (source,)) - at(1, (source,))) / 2 for source in SOURCES}
    return Transition(removed, (min(at(1), removed), max(at(-1), removed)), errors)


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

    ridge = _solve_ridge(rise, geometry.epsilon, 0.5 * radius**2 * _mean(effective))
    return geometry.dimension - effective.bound(ridge)


def _mean(effective: EffectiveDimension) -> float:
    return effective.spectrum.mean(lambda v: operator_values(v, effective.operator))


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
            return 0.5 * radius**2 * _mean(effective) <= geometry.epsilon
        return 0.5 * radius**2 * ridge * survivors / geometry.dimension <= geometry.epsilon

    return _transition(feasible, geometry.prunable)


class DirectionalSearch:
    """The transition for the actual displacement, by Lanczos runs started at it.

    ``run_at(m)`` returns the run started at the displacement of removing m weights. The spectral
    measure of the displacement's direction changes slowly with m, so a run at the current
    estimate of the transition serves its neighbourhood: runs are added at each new estimate until
    it lies within ``resolution`` (fraction of the prunable weights) of a run. Between runs the
    logarithm of the reachable loss per squared radius is interpolated in log survivors.
    """

    MOST_RUNS = 8

    def __init__(
        self,
        geometry: Geometry,
        run_at: Callable[[int], LanczosRun],
        *,
        resolution: float = 0.0005,
    ) -> None:
        self.geometry = geometry
        self.runs: dict[int, LanczosRun] = {}
        self._run_at = run_at
        self._resolution = resolution

    def locate(self, effective: EffectiveDimension, first: int) -> Transition:
        """The transition for the eigenvalues as ``effective`` reads them; ``first`` is a guess."""
        geometry = self.geometry
        lowest = int(np.searchsorted(geometry.radii, 0.0, side="right"))
        if lowest > geometry.prunable:
            everything = geometry.prunable
            return Transition(everything, (everything, everything), dict.fromkeys(SOURCES, 0.0))
        estimate = min(max(first, lowest), geometry.prunable)
        for _ in range(self.MOST_RUNS):
            if not self._served(estimate):
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
        near = min(self._resolution * self.geometry.prunable, 0.02 * survivors)
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
    def at(share: float) -> float:
        rule = run.quadrature(max(1, round(share * run.num_steps)))
        mean = float(_saturated(operator_values(rule.ritz_values, operator), ridge) @ rule.weights)
        return math.log(max(mean, 1e-300))

    deepest = at(1.0)
    if side and "depth" in sources and run.outcome.name != "INVARIANT":
        return deepest + side * max(abs(at(share) - deepest) for share in SHALLOWER)
    return deepest


def almt_band(dimension: int, confidence: float) -> float:
    """Half-width, in parameters, outside which the transition is decided with ``confidence``.

    a sqrt(D) with a = sqrt(8 log(4 / eta)), eta = 1 - confidence (Amelunxen, Lotz, McCoy, Tropp
    2014, Theorem II).
    """
    return math.sqrt(8 * math.log(4 / (1 - confidence))) * math.sqrt(dimension)
