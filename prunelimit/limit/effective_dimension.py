"""The effective dimension of a spectrum, with its error, and its inverse."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtri

from ..lanczos import Quadrature
from ..lanczos.slq import Spectrum

__all__ = ["SOURCES", "EffectiveDimension", "kept"]

SOURCES = ("probe", "depth", "direction")
"""The errors that the interval of one set of samples covers: the choice of probes, the Lanczos
depth from the probes, and the Lanczos depth from the removed weights."""

SPACING = 0.25
"""Points of the grid in log ridge on which roots are bracketed."""


def kept(values: np.ndarray, ridge: float | np.ndarray) -> np.ndarray:
    """lambda / (lambda + ridge) of eigenvalues that are not negative, and its limits.

    A column (R, 1) of ridges, all above 0, gives a row for each.
    """
    if isinstance(ridge, np.ndarray):
        return np.asarray(values / (values + ridge))
    if math.isinf(ridge):
        return np.zeros_like(values)
    if ridge <= 0:
        return (values > 0).astype(np.float64)
    return values / (values + ridge)


class EffectiveDimension:
    """d_eff(k) = D * mean of lambda / (lambda + k), with its error, and its inverse.

    The value is the middle of the Gauss and the Gauss-Radau reading (:class:`Bracket`), its depth
    error half their distance. That is a bound for a positive semi-definite matrix. For the absolute
    value of an indefinite one it is what was seen to hold. ``side`` +1 and -1 give the upper and
    lower end of the interval at ``confidence``; ``sources`` says which errors it covers. ``read``
    makes of eigenvalues what the theory takes for them: none is negative afterwards.
    """

    def __init__(
        self, spectrum: Spectrum, read: Callable[[np.ndarray], np.ndarray], confidence: float
    ) -> None:
        self.spectrum = spectrum
        self.read = read
        self.dimension = spectrum.dimension
        self._z = float(ndtri(0.5 + confidence / 2))
        self._gauss = self._rule(spectrum.bracket.gauss)
        self._radau = self._rule(spectrum.bracket.radau)
        self._tables: dict[tuple[int, tuple[str, ...]], np.ndarray] = {}
        self._rows: dict[str, np.ndarray] = {}
        self._ridges: dict[tuple[float, int, tuple[str, ...]], float] = {}
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
        return float(self._ends(ridge, 0, ()))

    def error(self, ridge: float, sources: tuple[str, ...] = SOURCES) -> float:
        """Half-width of the interval of :meth:`fraction`."""
        return float(self._error(ridge, sources))

    def bound(self, ridge: float, side: int = 0, sources: tuple[str, ...] = SOURCES) -> float:
        """d_eff at ``ridge``, or an end of its interval."""
        return self.dimension * min(1.0, max(0.0, float(self._ends(ridge, side, sources))))

    def ridge(self, survivors: float, side: int = 0, sources: tuple[str, ...] = SOURCES) -> float:
        """k with d_eff(k) = ``survivors``; 0 when even k -> 0 gives fewer, inf for none."""
        key = survivors, side, sources if side else ()
        if key not in self._ridges:
            self._ridges[key] = self._ridge(*key)
        return self._ridges[key]

    def _ridge(self, survivors: float, side: int, sources: tuple[str, ...]) -> float:
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
        # The table and a single ridge differ by rounding, which decides where all is flat.
        if excess(low) <= 0:
            return math.exp(low)
        if excess(high) >= 0:
            return math.exp(high)
        return math.exp(float(brentq(excess, low, high, xtol=1e-10)))

    def _table(self, side: int, sources: tuple[str, ...]) -> np.ndarray:
        key = (side, sources if side else ())
        if key not in self._tables:
            fractions = self._on_grid("")
            for source in key[1]:
                fractions = fractions + side * self._on_grid(source)
            self._tables[key] = self.dimension * np.clip(fractions, 0, 1)
        return self._tables[key]

    def _on_grid(self, source: str) -> np.ndarray:
        """At every ridge of the grid the error by ``source``, or the fraction itself for none."""
        if source not in self._rows:
            ridges = np.exp(np.maximum(self._grid, -700.0))[:, None]
            found = self._error(ridges, (source,)) if source else self._ends(ridges, 0, ())
            self._rows[source] = np.asarray(found)
        return self._rows[source]

    def _ends(self, ridge: float | np.ndarray, side: int, sources: tuple[str, ...]) -> Any:
        """:meth:`fraction` or an end of its interval, at a ridge or at each of a column."""
        fraction = (_mean_kept(self._gauss, ridge) + _mean_kept(self._radau, ridge)) / 2
        return fraction + side * self._error(ridge, sources) if side else fraction

    def _error(self, ridge: float | np.ndarray, sources: tuple[str, ...]) -> Any:
        total: Any = 0.0
        if "probe" in sources:
            total += self._z * self.spectrum.probe_deviations(
                lambda values: kept(self.read(values), ridge)
            )
        if "depth" in sources:
            total += abs(_mean_kept(self._gauss, ridge) - _mean_kept(self._radau, ridge)) / 2
        return total


def _mean_kept(rule: Quadrature, ridge: float | np.ndarray) -> Any:
    return kept(rule.ritz_values, ridge) @ rule.weights
