"""When to end a solve, how far to go along its step, and whether its model can be trusted."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .calibration import Calibration
from .conjugate_gradients import SPACING, Iterate, Solution
from .student import Point, Student

__all__ = ["Choice", "Watch", "choose", "trusted"]

LENGTHS = (1.0, 0.7, 0.5, 0.35, 0.25, 0.18, 0.125)
"""Lengths of an iterate that are tried. On the way back from a far cut the outputs grow steeper, so
the whole step goes too far."""

WORTH = 0.1
"""Share of the average gain of a step. Below it, further steps are not worth their products."""

IN_A_ROW = 2
"""A solve ends when so many iterates in a row are below it."""

EARLY = 4
"""First steps, by which a solve is not ended. On a few inputs held out, the divergence goes up and
down there."""

FEWEST = math.ceil((EARLY + 1) * SPACING)
"""A solve of so few steps is over before anything could end it."""


@dataclass(frozen=True)
class Choice:
    """``point`` was reached by ``length`` times the move of ``iterate``. ``iterate`` is None where
    survivors stay as they are or return to their dense values."""

    point: Point
    iterate: Iterate | None
    length: float


@dataclass
class Watch:
    """Ends a solve from ``cut`` by the divergence on the inputs held out. It does so when iterates
    in a row gain less per step than a tenth of the average gain of a step.

    By its own inputs the solve would go on, and fit what is particular to them. It takes ``steps``
    at most. Iterates are judged only where that can end it. ``rises`` are the divergences seen, by
    steps.
    """

    student: Student
    cut: Point
    steps: int
    rises: dict[int, float] = field(default_factory=dict)
    _below: int = 0

    def __call__(self, iterate: Iterate) -> bool:
        """Whether to end at ``iterate``."""
        following = math.ceil(iterate.steps * SPACING)
        if following <= EARLY or self.steps <= FEWEST or iterate.steps >= self.steps:
            return False
        weights = torch.add(self.cut.weights, iterate.update)
        rise = self.student.rise(weights, self.cut.buffers)
        before = max(self.rises, default=0)
        gain = self.rises.get(before, self.cut.rise) - rise
        average = (self.cut.rise - rise) / iterate.steps
        self.rises[iterate.steps] = rise
        little = not gain / (iterate.steps - before) > WORTH * max(0.0, average)
        self._below = self._below + 1 if little and iterate.steps > EARLY else 0
        return self._below >= IN_A_ROW


def choose(
    student: Student, cut: Point, dense: Tensor, found: Solution, known: dict[int, float]
) -> Choice:
    """The point of least divergence on the inputs held out.

    Candidates are the survivors unmoved (``cut``), at their ``dense`` values (D,), and the iterates
    of ``found``. The iterates are tried from the last back until one is worse than the next. Each
    is tried at shorter lengths as long as those are better. Statistics of batch normalisation are
    taken anew if that helped at the cut. ``known`` are the divergences of whole iterates, by steps,
    with the cut's statistics.
    """
    anew = bool(cut.buffers)

    best = cut
    rises: list[float] = []

    def point(iterate: Iterate, length: float) -> Point:
        weights = torch.add(cut.weights, iterate.update, alpha=length)
        if anew:
            return student.anew(weights)
        if length == 1 and iterate.steps in known:
            return Point(weights, cut.buffers, known[iterate.steps])
        above = max(best.rise, rises[-1]) if rises else math.inf
        return Point(weights, cut.buffers, student.rise(weights, cut.buffers, above=above))

    if not torch.equal(dense, cut.weights):
        there = Point(dense, {}, student.rise(dense, {}, above=cut.rise))
        best = there if there.rise < best.rise else best
    chosen, length, first = None, 0.0, 0
    for iterate in reversed(found.iterates):
        rises = []
        for place in range(first, len(LENGTHS)):
            there = point(iterate, LENGTHS[place])
            if there.rise < best.rise:
                best, chosen, length, first = there, iterate, LENGTHS[place], place
            if rises and there.rise >= rises[-1]:
                break
            rises.append(there.rise)
        if chosen is not None and chosen is not iterate:
            break
    return Choice(best, chosen, length)


def trusted(
    student: Student,
    cut: Point,
    found: Solution,
    choice: Choice,
    fit: Calibration,
    before: float,
) -> float:
    """Actual over predicted fall of the misfit that the solve minimises, on the solve's own inputs.
    It is that of the chosen iterate, or else of the last one. It is zero if the misfit rose. The
    misfit was ``before`` at the cut."""
    if not found.iterates:
        return 1.0
    iterate, length = choice.iterate, choice.length
    if iterate is None:
        iterate, length = found.iterates[-1], 1.0
    predicted = iterate.decrease_at(length)
    if not predicted > 0:
        return 1.0
    moved = torch.add(cut.weights, iterate.update, alpha=length)
    return max(0.0, (before - student.misfit(moved, cut.buffers, fit)) / predicted)
