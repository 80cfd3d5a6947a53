"""How far to go along a step, and whether the model that gave it can be trusted."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .calibration import Calibration
from .conjugate_gradients import Iterate, Solution
from .student import Point, Student

__all__ = ["Choice", "choose", "trusted"]

LENGTHS = (1.0, 0.7, 0.5, 0.35, 0.25, 0.18, 0.125)
"""Lengths of an iterate that are tried. Outputs grow steeper on the way back from a far cut, so
that the whole step goes too far."""


@dataclass(frozen=True)
class Choice:
    """``point`` was reached by ``iterate`` at ``length`` of its own; by none where survivors stay
    as they are or return to their dense values."""

    point: Point
    iterate: Iterate | None
    length: float


def choose(student: Student, cut: Point, dense: Tensor, found: Solution) -> Choice:
    """The point of least divergence on the inputs held out.

    Candidates are the survivors unmoved (``cut``), at their ``dense`` values (D,), and the iterates
    of ``found``. Those are tried from the last back until one is worse than the next, each at
    shorter lengths while those are better. Statistics of batch normalisation are taken anew where
    that helped at the cut.
    """
    anew = bool(cut.buffers)

    def point(weights: Tensor) -> Point:
        if anew:
            return student.anew(weights)
        return Point(weights, cut.buffers, student.rise(weights, cut.buffers))

    best = cut
    if not torch.equal(dense, cut.weights):
        there = student.point(dense, {})
        best = there if there.rise < best.rise else best
    chosen, length, first = None, 0.0, 0
    for iterate in reversed(found.iterates):
        rises: list[float] = []
        for place in range(first, len(LENGTHS)):
            weights = torch.add(cut.weights, iterate.update, alpha=LENGTHS[place])
            there = point(weights)
            if there.rise < best.rise:
                best, chosen, length, first = there, iterate, LENGTHS[place], place
            if rises and there.rise >= rises[-1]:
                break
            rises.append(there.rise)
        if chosen is not None and chosen is not iterate:
            break
    return Choice(best, chosen, length)


def trusted(
    student: Student, cut: Point, found: Solution, choice: Choice, fit: Calibration
) -> float:
    """Actual over predicted fall of what the solve made least, on its own inputs, for the iterate
    that was chosen or else the last; zero where it rose."""
    if not found.iterates:
        return 1.0
    iterate, length = choice.iterate, choice.length
    if iterate is None:
        iterate, length = found.iterates[-1], 1.0
    predicted = iterate.decrease_at(length)
    if not predicted > 0:
        return 1.0
    moved = torch.add(cut.weights, iterate.update, alpha=length)
    before = student.misfit(cut.weights, cut.buffers, fit)
    return max(0.0, (before - student.misfit(moved, cut.buffers, fit)) / predicted)
