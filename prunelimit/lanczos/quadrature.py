"""Quadrature of a spectral measure, read from the tridiagonal matrix of a Lanczos process.

Sources: Golub 1973; Golub and Meurant, "Matrices, Moments and Quadrature", 2010.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy.linalg import eigh_tridiagonal

__all__ = ["Bracket", "LanczosRun", "Outcome", "Quadrature", "pool"]


class Outcome(enum.Enum):
    """How a Lanczos process ended."""

    COMPLETE = "complete"
    INVARIANT = "invariant subspace reached"


@dataclass(frozen=True)
class Quadrature:
    """A discrete measure: ``ritz_values`` (k,), ``weights`` (k,) summing to one; float64."""

    ritz_values: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True)
class Bracket:
    """Two readings of one spectral measure that close in on it as the depth grows.

    ``gauss`` has no prescribed node, ``radau`` one at zero. Take a positive semi-definite matrix
    and f(lambda) = lambda / (lambda + k). Then ``gauss`` is never below the integral and ``radau``
    never above it (Golub and Meurant 2010, section 6).
    """

    gauss: Quadrature
    radau: Quadrature


AVERAGED = 0.75
"""A bracket averages its rules over the depths from this share of the steps to all of them.

One Gauss rule of an indefinite matrix depends on where its node nearest zero happens to fall,
which changes from step to step; the average does not.
"""

MOST_AVERAGED = 32
"""Most depths that are averaged, spread evenly."""


def pool(rules: Sequence[Quadrature]) -> Quadrature:
    """The mean of several rules as one rule, its nodes in order."""
    values = np.concatenate([rule.ritz_values for rule in rules])
    weights = np.concatenate([rule.weights for rule in rules]) / len(rules)
    order = np.argsort(values, kind="stable")
    return Quadrature(values[order], weights[order])


@dataclass(frozen=True)
class LanczosRun:
    """The tridiagonal matrix T of one process.

    ``alpha`` (k,) is its diagonal, ``beta`` (k,) its off-diagonal with the residual norm last;
    float64. ``norm`` is the length of the start vector. ``outcome`` INVARIANT means that the
    Krylov space is exhausted and the quadrature exact for this start vector.
    """

    alpha: np.ndarray
    beta: np.ndarray
    norm: float
    outcome: Outcome
    _rules: dict[tuple[str, int], Quadrature] = field(
        default_factory=dict, repr=False, compare=False
    )

    @property
    def num_steps(self) -> int:
        """Steps taken, k."""
        return len(self.alpha)

    def leading(self, num_steps: int) -> LanczosRun:
        """The process as it stood after its first ``num_steps`` steps; all of it where fewer."""
        if num_steps >= self.num_steps:
            return self
        return LanczosRun(
            self.alpha[:num_steps], self.beta[:num_steps], self.norm, Outcome.COMPLETE
        )

    def quadrature(self, num_steps: int | None = None) -> Quadrature:
        """Gauss quadrature of the start vector's spectral measure from the first ``num_steps``."""
        k = self.num_steps if num_steps is None else min(num_steps, self.num_steps)
        return self._rule("gauss", k, float(self.alpha[k - 1]))

    def radau(self, num_steps: int | None = None) -> Quadrature:
        """Gauss-Radau quadrature with one node at zero, from the first ``num_steps``.

        The last diagonal entry is replaced by the one that makes T singular (Golub 1973).
        """
        k = self.num_steps if num_steps is None else min(num_steps, self.num_steps)
        if k == 1:
            return Quadrature(np.zeros(1), np.ones(1))
        # The last pivot of T_{k-1}. If it vanishes, the replacement is practically infinite.
        tiny = 1e-30 * max(float(np.abs(self.alpha[:k]).max()), float(self.beta[: k - 1].max()))
        pivot = float(self.alpha[0])
        for step in range(1, k - 1):
            pivot = self.alpha[step] - self.beta[step - 1] ** 2 / _away_from_zero(pivot, tiny)
        last = float(self.beta[k - 2] ** 2 / _away_from_zero(pivot, tiny))
        rule = self._rule("radau", k, last)
        values = rule.ritz_values.copy()
        nearest = int(np.abs(values).argmin())
        if abs(values[nearest]) <= 1e18 * tiny:  # the prescribed node, up to rounding
            values[nearest] = 0.0
        return Quadrature(values, rule.weights)

    @cached_property
    def top_residual(self) -> float:
        """The norm of the largest Ritz value's residual. An eigenvalue lies within so much of that
        value (Parlett 1998, section 13.2)."""
        last = self.num_steps - 1
        _, vector = eigh_tridiagonal(
            self.alpha, self.beta[:last], select="i", select_range=(last, last)
        )
        return abs(float(self.beta[last] * vector[-1, 0]))

    @cached_property
    def bracket(self) -> Bracket:
        """Both rules, averaged over the last depths; equal where the Krylov space is exhausted."""
        if self.outcome is Outcome.INVARIANT:
            return Bracket(self.quadrature(), self.quadrature())
        first = max(1, round(AVERAGED * self.num_steps))
        spread = np.linspace(first, self.num_steps, MOST_AVERAGED).round().astype(int)
        depths = [int(depth) for depth in np.unique(spread)]
        return Bracket(
            pool([self.quadrature(depth) for depth in depths]),
            pool([self.radau(depth) for depth in depths]),
        )

    def _rule(self, kind: str, k: int, last: float) -> Quadrature:
        if (kind, k) not in self._rules:
            diagonal = np.append(self.alpha[: k - 1], last)
            values, vectors = eigh_tridiagonal(diagonal, self.beta[: k - 1])
            weights = vectors[0] ** 2
            self._rules[kind, k] = Quadrature(values, weights / weights.sum())
        return self._rules[kind, k]


def _away_from_zero(pivot: float, tiny: float) -> float:
    return pivot if abs(pivot) > tiny else math.copysign(tiny or 1.0, pivot)
