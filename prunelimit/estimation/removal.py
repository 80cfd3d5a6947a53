"""The removal of the m smallest weights, and the Lanczos process that tells what it costs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..devices import wide
from ..inputs.problem import Problem
from ..limit.direction import Direction
from .budget import LanczosProcess
from .curvature import Curvature

__all__ = ["PruningPath", "Removal", "begin_removal"]

ROUNDED = 4
"""Rounding error of the rise with survivors unmoved, in units of the last place of its quadratic
part."""


@dataclass(frozen=True)
class PruningPath:
    """The pruning path of a problem: m -> displacement."""

    problem: Problem
    order: Tensor
    weights: Tensor

    def displacement(self, removed: int) -> Tensor:
        """d = w_m - w*, shape (D,)."""
        vector = torch.zeros_like(self.weights)
        gone = self.order[:removed]
        vector[gone] = -self.weights[gone]
        return vector


@dataclass(frozen=True)
class Removal:
    """The process for one number of removed weights, and what else :class:`Direction` needs."""

    process: LanczosProcess
    unmoved: float | None = None
    scale: float = 1.0
    rounding: float = 0.0

    @property
    def direction(self) -> Direction:
        """The direction, as the steps taken so far tell it."""
        return Direction(self.process.run, self.unmoved, self.scale, self.rounding)


def begin_removal(path: PruningPath, curvature: Curvature, removed: int) -> Removal:
    """The removal of ``removed`` weights, with no step taken.

    Where the curvature's eigenvalues are read as they are, the process begins at the force on the
    survivors, which takes one product; else at the displacement.
    """
    displacement = path.displacement(removed)
    name = f"direction {removed}"
    if not curvature.operator.linear:
        return Removal(curvature.begin(name, displacement))
    curved, slope = curvature.multiply(f"product {removed}", displacement), curvature.slope
    force = curved + slope
    square = float(wide(displacement).square().sum())
    length = float(wide(force).square().sum())
    if length == 0:
        return Removal(curvature.begin(name, displacement))
    quadratic = 0.5 * float(wide(displacement) @ wide(curved)) / square
    linear = float(wide(displacement) @ wide(slope)) / square
    return Removal(
        curvature.begin(f"{name}, force", force),
        unmoved=quadratic + linear,
        scale=length / square,
        rounding=ROUNDED * torch.finfo(force.dtype).eps * abs(quadratic),
    )
