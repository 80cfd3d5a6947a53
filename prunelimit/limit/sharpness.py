"""How sharp a minimum is, in one number, by several measures of the spectrum with their errors.

The Renyi sharpness of order a is minus the Renyi entropy of the normalised spectrum
p_i = lambda_i / sum_j lambda_j,

    log(sum_i p_i^a) / (a - 1),      and for a = 1 minus Shannon's entropy, sum_i p_i log p_i.

It is -log D where all D eigenvalues are equal, and 0 where only one differs from zero.

Source: Zhang, Sun, Zhang et al. 2025, "Renyi Sharpness" (arXiv 2510.07758).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from ..lanczos import Quadrature
from ..lanczos.quadrature import AVERAGED
from ..lanczos.slq import Spectrum
from .effective_dimension import EffectiveDimension

__all__ = ["Measure", "effective_dimension", "frobenius", "largest", "renyi", "trace"]

Reading = Callable[[np.ndarray], np.ndarray]

SHANNON = 1e-6
"""Orders this near to 1 count as 1, since the formula would divide by almost zero."""


@dataclass(frozen=True)
class Measure:
    """An estimate, and the half-widths of its interval to either side; NaN where it has none."""

    value: float
    below: float
    above: float

    @property
    def interval(self) -> tuple[float, float]:
        """From the lower to the upper end."""
        return self.value - self.below, self.value + self.above

    @classmethod
    def even(cls, value: float, error: float) -> Measure:
        """With the same half-width on either side."""
        return cls(value, error, error)

    @classmethod
    def by_factor(cls, value: float, error: float) -> Measure:
        """Of a value that cannot be negative. ``error`` is taken as one of its logarithm, since a
        probe that sees too little of the spectrum states too small an error too."""
        if value <= 0:
            return cls.even(value, error)
        factor = math.exp(min(error / value, 50.0))
        return cls(value, value - value / factor, value * factor - value)


def largest(spectrum: Spectrum) -> Measure:
    """The largest eigenvalue.

    A Ritz value is never above it. Some eigenvalue lies within the residual of the Ritz value. For
    a random start, this is almost certainly the largest one.
    """
    top = max(spectrum.runs, key=lambda run: run.quadrature().ritz_values[-1])
    return Measure(float(top.quadrature().ritz_values[-1]), 0.0, top.top_residual)


def trace(spectrum: Spectrum, confidence: float) -> Measure:
    """The sum of the eigenvalues with their signs."""
    size = spectrum.dimension
    value = size * spectrum.mean(lambda values: values)
    error = size * _z(confidence) * spectrum.probe_deviation(lambda values: values)
    return Measure.even(value, error) if spectrum.negative_mass else Measure.by_factor(value, error)


def frobenius(spectrum: Spectrum, confidence: float) -> Measure:
    """The root of the sum of the squared eigenvalues."""
    if min(run.num_steps for run in spectrum.runs) < 2:
        # One step knows the mean eigenvalue alone; the norm of the residual has the rest.
        squares = [float(run.alpha[0] ** 2 + run.beta[0] ** 2) for run in spectrum.runs]
        mean = float(np.mean(squares))
    else:
        mean = spectrum.mean(np.square)
    value = math.sqrt(spectrum.dimension * mean)
    if value == 0:
        return Measure.even(0.0, 0.0)
    error = _z(confidence) * spectrum.probe_deviation(np.square)
    return Measure.by_factor(value, spectrum.dimension * error / (2 * value))


def effective_dimension(effective: EffectiveDimension, ridge: float) -> Measure:
    """How many directions are curved more than ``ridge``."""
    size = effective.dimension
    return Measure.even(size * effective.fraction(ridge), size * effective.error(ridge))


def renyi(
    spectrum: Spectrum,
    read: Reading,
    alpha: float,
    confidence: float,
    *,
    noise: float = 1e-6,
) -> Measure:
    """The Renyi sharpness of order ``alpha`` > 0.

    ``read`` turns eigenvalues into numbers that are not negative. Those below ``noise``, a fraction
    of the largest, are rounding and count as zero. The value is the middle between the Gauss and
    the Gauss-Radau rule. For a positive semi-definite matrix the true one lies between the two. For
    whole orders that the Gauss rule integrates exactly, the value is that rule's. The interval
    covers half the distance of the two rules, and the choice of probes. NaN where all is flat.
    """

    def cut(values: np.ndarray) -> np.ndarray:
        found = read(values)
        return np.where(found > noise * top, found / scale, 0.0)

    top = scale = 1.0
    rules = spectrum.bracket
    top = scale = float(read(rules.gauss.ritz_values).max(initial=0.0))
    if top <= 0:
        return Measure.even(math.nan, math.nan)
    steps = min(run.num_steps for run in spectrum.runs)
    exact = float(alpha).is_integer() and alpha < 2 * max(1, round(AVERAGED * steps))
    size = spectrum.dimension
    value = _of_rule(Quadrature(cut(rules.gauss.ritz_values), rules.gauss.weights), alpha, size)
    depth = 0.0
    # A matrix with negative eigenvalues, read by magnitude, is no polynomial of itself.
    if not (exact and bool((rules.gauss.ritz_values >= -noise * top).all())):
        radau = _of_rule(Quadrature(cut(rules.radau.ritz_values), rules.radau.weights), alpha, size)
        value, depth = (value + radau) / 2, abs(value - radau) / 2
    slope = _slope(Quadrature(cut(rules.gauss.ritz_values), rules.gauss.weights), alpha)
    probes = _z(confidence) * spectrum.probe_deviation(lambda values: slope(cut(values)))
    return Measure.even(value, probes + depth)


def _of_rule(rule: Quadrature, alpha: float, size: int) -> float:
    mean = float(rule.ritz_values @ rule.weights)
    if mean <= 0:
        return math.inf
    if abs(alpha - 1) < SHANNON:
        return float(_log_power(rule.ritz_values) @ rule.weights) / mean - math.log(size * mean)
    power = float(_power(rule.ritz_values, alpha) @ rule.weights)
    return (math.log(size * power) - alpha * math.log(size * mean)) / (alpha - 1)


def _slope(rule: Quadrature, alpha: float) -> Reading:
    """The function whose mean varies over probes as the sharpness does, to first order."""
    mean = float(rule.ritz_values @ rule.weights)
    if abs(alpha - 1) < SHANNON:
        surprise = float(_log_power(rule.ritz_values) @ rule.weights) / mean
        return lambda values: (_log_power(values) - (surprise + 1) * values) / mean
    power = float(_power(rule.ritz_values, alpha) @ rule.weights)
    return lambda values: (_power(values, alpha) / power - alpha * values / mean) / (alpha - 1)


def _power(values: np.ndarray, alpha: float) -> np.ndarray:
    return np.asarray(values**alpha)  # alpha > 0, so that nothing stays nothing


def _log_power(values: np.ndarray) -> np.ndarray:
    """x log x, and its limit at 0."""
    return np.asarray(values * np.log(np.where(values > 0, values, 1.0)))


def _z(confidence: float) -> float:
    return float(ndtri(0.5 + confidence / 2))
