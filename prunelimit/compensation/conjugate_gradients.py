"""Moving the survivors to make up for what is removed: conjugate gradients on a curvature.

With d the displacement that removal makes, G the curvature and g the gradient, the survivors' move
u minimises

    g^T (d + u) + 1/2 (d + u)^T G (d + u) + mu/2 ||u||^2 ,  u zero where removed,

that is (P G P + mu) u = -P (G d + g) with P the projection on the survivors. It is Optimal Brain
Surgeon's update (Hassibi and Stork 1993) for all removed weights at once. Nothing here knows of
networks: there is only a matvec, a mask and a right-hand side.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..devices import wide
from ..errors import UsageError

__all__ = ["Iterate", "Solution", "natural_damping", "solve"]

Matvec = Callable[[Tensor], Tensor]

SPACING = 1.4
"""Iterates are kept at steps that grow by this factor, as in Hessian-free optimisation (Martens
2010, 1.3). They are enough to choose from, and few enough to hold."""


@dataclass(frozen=True)
class Iterate:
    """The move ``update`` (D,) after ``steps`` steps.

    ``slope`` is b^T u and ``bend`` u^T G u.
    """

    steps: int
    update: Tensor
    slope: float
    bend: float

    def decrease_at(self, length: float) -> float:
        """The fall of the quadratic without its damping, u^T G u / 2 - b^T u, from u = 0 to
        ``length`` times the update."""
        return length * self.slope - 0.5 * length**2 * self.bend


@dataclass(frozen=True)
class Solution:
    """The result of conjugate gradients.

    ``iterates`` are in order of steps, and the last of them is the solution. There are none where
    the right-hand side is zero. ``residual`` is relative to the right-hand side. ``outcome`` is one
    of five. "converged". "steps": all that were allowed were taken. "stopped": ``stop`` said so.
    "breakdown": a direction had no positive curvature, and the iterate before it stands. "nothing
    to do".
    """

    iterates: tuple[Iterate, ...]
    residual: float
    steps: int
    outcome: str


def natural_damping(epsilon: float, radius: float) -> float:
    """The limit's own ridge mu = 2 epsilon / R^2 for weights of length R removed; nats.

    Raises:
        UsageError: ``epsilon`` is not greater than zero.
    """
    if not 0 < epsilon < math.inf:
        raise UsageError(f"The loss tolerance is {epsilon}; give one greater than 0.")
    return 2 * epsilon / radius**2 if radius > 0 else math.inf


def _dot(first: Tensor, second: Tensor) -> float:
    return float(wide(first) @ wide(second))


def solve(
    matvec: Matvec,
    side: Tensor,
    mask: Tensor,
    *,
    damping: float,
    max_steps: int,
    tolerance: float = 1e-4,
    precondition: Callable[[Tensor], Tensor] | None = None,
    stop: Callable[[Iterate], bool] | None = None,
    on_step: Callable[[int], None] | None = None,
) -> Solution:
    """Solve (P G P + mu) u = P b for u, where P keeps the entries that ``mask`` (bool, (D,)) keeps.

    ``side`` is b, (D,). Vectors have its dtype; scalars are float64. ``matvec`` is G, positive
    semi-definite. The solve ends when the residual is ``tolerance`` times the right-hand side, or
    after ``max_steps``, or when ``stop`` says so for an iterate. Entries that ``mask`` removes are
    exactly zero in every iterate. ``precondition`` maps a residual to M^-1 times it, for a
    symmetric positive definite M near P G P + mu, and keeps those zeros.

    Raises:
        UsageError: ``max_steps`` is below 1, or ``damping`` is negative.
    """
    if max_steps < 1:
        raise UsageError(f"`cg_steps` is {max_steps}; give 1 or more.")
    if damping < 0:
        raise UsageError(f"The damping is {damping}; give 0 or more.")
    removed = ~mask
    residual = side.masked_fill(removed, 0)
    begin = _dot(residual, residual)
    if begin == 0 or math.isinf(damping):
        return Solution((), 0.0, 0, "nothing to do")
    update = torch.zeros_like(side)
    turned = residual if precondition is None else precondition(residual)
    left, square = begin, begin if precondition is None else _dot(residual, turned)
    direction = turned.clone()
    right = residual.clone()
    iterates: list[Iterate] = []
    outcome, step, keep_at = "steps", 0, 1
    while step < max_steps:
        product = matvec(direction).masked_fill(removed, 0)
        product.add_(direction, alpha=damping)
        bend = _dot(direction, product)
        if not (math.isfinite(bend) and bend > 0):
            outcome = "breakdown"
            break
        length = square / bend
        step += 1
        update = torch.add(update, direction, alpha=length)
        residual.sub_(product, alpha=length)
        turned = residual if precondition is None else precondition(residual)
        left = _dot(residual, residual)
        before, square = square, left if turned is residual else _dot(residual, turned)
        if on_step is not None:
            on_step(step)
        done = left <= tolerance**2 * begin
        if done or step == max_steps or step >= keep_at:
            iterates.append(_iterate(step, update, right, residual, damping))
            keep_at = max(step + 1, math.ceil(step * SPACING))
            if stop is not None and not done and stop(iterates[-1]):
                outcome = "stopped"
                break
        if done:
            outcome = "converged"
            break
        direction.mul_(square / before).add_(turned)
    if outcome == "breakdown" and step and (not iterates or iterates[-1].steps < step):
        iterates.append(_iterate(step, update, right, residual, damping))
    return Solution(tuple(iterates), math.sqrt(left / begin), step, outcome)


def _iterate(step: int, update: Tensor, right: Tensor, residual: Tensor, damping: float) -> Iterate:
    slope = _dot(right, update)
    # (G + mu) u = b - r
    bend = slope - _dot(residual, update) - damping * _dot(update, update)
    return Iterate(step, update, slope, max(0.0, bend))
