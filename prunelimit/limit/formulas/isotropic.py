"""The exact transition for a displacement spread evenly over the eigenvectors.

The least quadratic loss that s random directions can reach from such a displacement of length R is
epsilon there. This is the deterministic equivalent of a sketched projection (Derezinski, Liang,
Mahoney 2020).
"""

from __future__ import annotations

import math

from ..effective_dimension import EffectiveDimension
from ..formula import Formula, Question
from ..geometry import Geometry, Transition, solve_ridge, transition

NAME = "isotropic"
ORDER = 2
SOURCE = "by the deterministic equivalent of Derezinski, Liang, Mahoney 2020"
HELP = "The exact transition for weights removed in a random direction."
MARKER = "s"

__all__ = ["FORMULA", "isotropic_transition", "isotropic_width"]


def isotropic_width(geometry: Geometry, effective: EffectiveDimension, radius: float) -> float:
    """How many parameters can go at displacement ``radius`` spread evenly: D - d_eff(k) at the
    ridge k where the least reachable loss is epsilon."""

    def rise(ridge: float) -> float:
        return 0.5 * radius**2 * ridge * effective.fraction(ridge)

    ridge = solve_ridge(rise, geometry.epsilon, 0.5 * radius**2 * effective.mean())
    return geometry.dimension - effective.bound(ridge)


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

    return transition(feasible, geometry.prunable)


def _transition(question: Question) -> Transition:
    return isotropic_transition(question.geometry, question.effective)


def _width(question: Question, removed: int) -> float:
    radius = float(question.geometry.radii[removed])
    return isotropic_width(question.geometry, question.effective, radius)


FORMULA = Formula(NAME, SOURCE, HELP, transition=_transition, width=_width)
