"""The Lanczos process with full reorthogonalisation, for any symmetric matrix-vector product.

Source: Paige 1972; Golub and Meurant, "Matrices, Moments and Quadrature", 2010, for the
quadrature read from the tridiagonal matrix.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.linalg import eigh_tridiagonal
from torch import Tensor

from .errors import NumericalError, UsageError

__all__ = ["LanczosRun", "Matvec", "Outcome", "Quadrature", "lanczos"]

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
    _rules: dict[int, Quadrature] = field(default_factory=dict, repr=False, compare=False)

    @property
    def num_steps(self) -> int:
        """Steps taken, k."""
        return len(self.alpha)

    def quadrature(self, num_steps: int | None = None) -> Quadrature:
        """Gauss quadrature of the start vector's spectral measure from the first ``num_steps``."""
        k = self.num_steps if num_steps is None else min(num_steps, self.num_steps)
        if k not in self._rules:
            values, vectors = eigh_tridiagonal(self.alpha[:k], self.beta[: k - 1])
            weights = vectors[0] ** 2
            self._rules[k] = Quadrature(values, weights / weights.sum())
        return self._rules[k]


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
