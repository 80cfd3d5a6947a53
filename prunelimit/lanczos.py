"""The Lanczos process with full reorthogonalisation, for any symmetric matrix-vector product.

Sources: Paige 1972; Golub 1973 and Golub and Meurant, "Matrices, Moments and Quadrature", 2010,
for the quadrature read from the tridiagonal matrix.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from scipy.linalg import eigh_tridiagonal
from torch import Tensor

from .errors import NumericalError, UsageError

__all__ = ["Bracket", "LanczosRun", "Matvec", "Outcome", "Quadrature", "lanczos", "pool"]

Matvec = Callable[[Tensor], Tensor]
"""Maps a vector (D,) to a vector (D,) of the same dtype and device."""


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

    ``gauss`` has no prescribed node, ``radau`` one at zero. For a positive semi-definite matrix
    and f(lambda) = lambda / (lambda + k), the second is never above the integral and the first
    never below it (Golub and Meurant 2010, section 6).
    """

    gauss: Quadrature
    radau: Quadrature


AVERAGED = 0.75
"""A bracket averages its rules over the depths from this share of the steps to all of them.

One Gauss rule of an indefinite matrix depends on where its node nearest zero happens to fall,
which changes from step to step; the average does not.
"""

MOST_AVERAGED = 32
"""Depths averaged at most, spread evenly."""


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
        # The last pivot of T_{k-1}; where it vanishes, the replacement is as good as infinite.
        tiny = 1e-30 * max(float(np.abs(self.alpha[:k]).max()), float(self.beta[: k - 1].max()))
        pivot = float(self.alpha[0])
        for step in range(1, k - 1):
            pivot = self.alpha[step] - self.beta[step - 1] ** 2 / _away_from_zero(pivot, tiny)
        last = float(self.beta[k - 2] ** 2 / _away_from_zero(pivot, tiny))
        return self._rule("radau", k, last)

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


def lanczos(
    matvec: Matvec,
    start: Tensor,
    num_steps: int,
    *,
    on_step: Callable[[int], None] | None = None,
) -> LanczosRun:
    """Run ``num_steps`` steps from ``start`` (D,), reorthogonalising fully, twice per step.

    Vectors stay in the dtype of ``start``; alpha, beta and every norm are accumulated in float64.
    The process ends early when the residual is rounding noise relative to the matrix, so it
    never divides by it; it takes at most D steps. ``on_step`` is called with the steps taken.

    Raises:
        UsageError: ``num_steps`` is below one, or ``start`` is zero.
        NumericalError: a product is not finite.
    """
    if num_steps < 1:
        raise UsageError(f"Lanczos needs at least one step, not {num_steps}; raise --steps.")
    norm = _norm(start)
    if not norm > 0 or not np.isfinite(norm):
        raise UsageError("Lanczos needs a start vector that is finite and not zero.")
    num_steps = min(num_steps, start.numel())
    basis = torch.empty(num_steps, start.numel(), dtype=start.dtype, device=start.device)
    basis[0] = start / norm
    alpha: list[float] = []
    beta: list[float] = []
    noise = 10 * torch.finfo(start.dtype).eps
    scale = 0.0
    outcome = Outcome.COMPLETE
    for step in range(num_steps):
        residual = matvec(basis[step]).clone()
        if not bool(torch.isfinite(residual).all()):
            raise NumericalError(
                f"Curvature product {step + 1} is not finite; use --dtype float64 or check the "
                "network's loss."
            )
        size = _norm(residual)
        alpha.append(_dot(basis[step], residual))
        known = basis[: step + 1]
        for _ in range(2):
            residual -= known.T @ (known @ residual)
        beta.append(_norm(residual))
        scale = max(scale, size)
        if on_step is not None:
            on_step(step + 1)
        if beta[-1] <= noise * scale:
            outcome = Outcome.INVARIANT
            break
        if step + 1 < num_steps:
            basis[step + 1] = residual / beta[-1]
    if len(alpha) == start.numel():
        outcome = Outcome.INVARIANT
    return LanczosRun(np.array(alpha), np.array(beta), norm, outcome)


def _norm(vector: Tensor) -> float:
    # Scaled, so that entries near the dtype's smallest number do not square to zero.
    largest = float(vector.abs().max()) if vector.numel() else 0.0
    if largest == 0.0 or not np.isfinite(largest):
        return largest
    return largest * float(torch.linalg.vector_norm(vector / largest, dtype=torch.float64))


def _dot(left: Tensor, right: Tensor) -> float:
    return float(torch.dot(left.to(torch.float64), right.to(torch.float64)))
