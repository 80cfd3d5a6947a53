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
"""Lengths of an iterate that are tried. Outputs grow steeper on the way back from a far cut, so
that the whole step goes too far."""

WORTH = 0.1
"""Share of what steps brought on average, below which more of them are not worth their products."""

IN_A_ROW = 2
"""Iterates that are below it one after the other when a solve ends."""

EARLY = 4
"""Steps that say nothing yet: on a few inputs held out the first of them go up and down."""

FEWEST = math.ceil((EARLY + 1) * SPACING)
"""Steps of a solve that is at its end before anything could end it."""


@dataclass(frozen=True)
class Choice:
    """``point`` was reached by ``iterate`` at ``length`` of its own; by none where survivors stay
    as they are or return to their dense values."""

    point: Point
    iterate: Iterate | None
    length: float


@dataclass
class Watch:
    """Ends a solve from ``cut`` by the divergence on the inputs held out: once iterates one after
    the other gain less per step than a tenth of what steps gained on average.

    The solve's own inputs would let it go on: it then fits what is theirs alone. Of ``steps`` at
    most, iterates are judged where that can end it. ``rises`` are the divergences seen, by steps.
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
    of ``found``. Those are tried from the last back until one is worse than the next, each at
    shorter lengths while those are better. Statistics of batch normalisation are taken anew where
    that helped at the cut. ``known`` are the divergences of whole iterates, by steps, with the
    cut's statistics.
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
    """Actual over predicted fall of what the solve made least, on its own inputs, for the iterate
    that was chosen or else the last; zero where it rose. It was ``before`` at the cut."""
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
