"""The effective dimension of a spectrum, with its error, and its inverse."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from ..lanczos import Quadrature
from ..lanczos.slq import Spectrum

__all__ = ["SOURCES", "EffectiveDimension", "kept"]

SOURCES = ("probe", "depth", "direction")
"""What the interval of one set of samples covers: the choice of probes, the Lanczos depth from
them, and that from the removed weights."""

SPACING = 0.25
"""Of the grid in log ridge that roots are bracketed on."""


def kept(values: np.ndarray, ridge: float) -> np.ndarray:
    """lambda / (lambda + ridge) of eigenvalues that are not negative, and its limits."""
    if math.isinf(ridge):
        return np.zeros_like(values)
    if ridge <= 0:
        return (values > 0).astype(np.float64)
    return values / (values + ridge)


class EffectiveDimension:
    """d_eff(k) = D * mean of lambda / (lambda + k), with its error, and its inverse.

    The value is the middle of the Gauss and the Gauss-Radau reading (:class:`Bracket`), its depth
    error half their distance: a bound for a positive semi-definite matrix, what was seen to hold
    for the absolute value of an indefinite one. ``side`` +1 and -1 give the upper and lower end
    of the interval at ``confidence``; ``sources`` says which errors it covers. ``read`` makes of
    eigenvalues what the theory takes for them: none is negative afterwards.
    """

    def __init__(
        self, spectrum: Spectrum, read: Callable[[np.ndarray], np.ndarray], confidence: float
    ) -> None:
        self.spectrum = spectrum
        self.read = read
        self.dimension = spectrum.dimension
        self._z = float(norm.ppf(0.5 + confidence / 2))
        self._gauss = self._rule(spectrum.bracket.gauss)
        self._radau = self._rule(spectrum.bracket.radau)
        self._tables: dict[tuple[int, tuple[str, ...]], np.ndarray] = {}
        self._grid = self._log_ridges()

    def _rule(self, rule: Quadrature) -> Quadrature:
        return Quadrature(self.read(rule.ritz_values), rule.weights)

    def _log_ridges(self) -> np.ndarray:
        """From where nothing is damped to where everything is."""
        values = self._gauss.ritz_values
        positive = values[values > 0]
        if not positive.size:
            return np.zeros(1)
        low = math.log(float(positive.min())) - 40.0
        high = math.log(float(positive.max())) + math.log(self.dimension + 1) + 40.0
        return np.linspace(low, high, math.ceil((high - low) / SPACING) + 1)

    def mean(self) -> float:
        """Mean eigenvalue as it is read."""
        return float(self._gauss.ritz_values @ self._gauss.weights)

    def fraction(self, ridge: float) -> float:
        """Mean of lambda / (lambda + ridge), in [0, 1]."""
        return (_mean_kept(self._gauss, ridge) + _mean_kept(self._radau, ridge)) / 2

    def error(self, ridge: float, sources: tuple[str, ...] = SOURCES) -> float:
        """Half-width of the interval of :meth:`fraction`."""
        total = 0.0
        if "probe" in sources:
            total += self._z * self.spectrum.probe_deviation(
                lambda values: kept(self.read(values), ridge)
            )
        if "depth" in sources:
            total += abs(_mean_kept(self._gauss, ridge) - _mean_kept(self._radau, ridge)) / 2
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
        table = self._table(side, sources)
        if table[0] <= survivors:
            return 0.0
        if table[-1] > survivors:
            return math.inf
        after = int(np.argmax(table <= survivors))

        def excess(log_ridge: float) -> float:
            return self.bound(math.exp(log_ridge), side, sources) - survivors

        low, high = float(self._grid[after - 1]), float(self._grid[after])
        return math.exp(float(brentq(excess, low, high, xtol=1e-10)))

    def _table(self, side: int, sources: tuple[str, ...]) -> np.ndarray:
        key = (side, sources if side else ())
        if key not in self._tables:
            bounds = [self.bound(math.exp(log), side, sources) for log in self._grid]
            self._tables[key] = np.array(bounds)
        return self._tables[key]


def _mean_kept(rule: Quadrature, ridge: float) -> float:
    return float(kept(rule.ritz_values, ridge) @ rule.weights)
