"""The published formula: m = sum_i 1 / (1 + R^2 lambda_i / (2 epsilon)).

The right side is the squared Gaussian width of the loss sublevel set, seen from the pruned point
(Zhang, Zhang, Sun, Liu 2024).
"""

from __future__ import annotations

import math

from ..effective_dimension import EffectiveDimension
from ..formula import Formula, Question
from ..geometry import Geometry, Transition, transition

NAME = "paper"
ORDER = 3
SOURCE = "Zhang, Zhang, Sun, Liu: How Sparse Can We Prune A Deep Network. NeurIPS 2024"
HELP = "The published formula: the squared Gaussian width of the loss's sublevel set."
MARKER = "^"
LABEL = "squared Gaussian width"

__all__ = ["FORMULA", "paper_transition", "paper_width"]


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

    return transition(feasible, geometry.prunable)


def _transition(question: Question) -> Transition:
    return paper_transition(question.geometry, question.effective)


def _width(question: Question, removed: int) -> float:
    radius = float(question.geometry.radii[removed])
    return paper_width(question.geometry, question.effective, radius)


FORMULA = Formula(NAME, SOURCE, HELP, transition=_transition, width=_width)
