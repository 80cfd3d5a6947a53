"""The exact transition for the displacement itself: the headline.

It is where the least loss on a random subspace of s dimensions at the displacement d reaches
epsilon. That loss is the one at the ridge k with d_eff(k) = s, by the deterministic equivalent of a
sketched projection (Derezinski, Liang, Mahoney 2020). :class:`..direction.Direction` computes it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from ..direction import Direction
from ..effective_dimension import SOURCES, EffectiveDimension
from ..formula import Formula, Question
from ..geometry import Geometry, Transition, between, largest, solve_ridge, transition

NAME = "directional"
ORDER = 1
SOURCE = "by the deterministic equivalent of Derezinski, Liang, Mahoney 2020"
HELP = "The exact transition for the weights that are removed themselves."
MARKER = "o"

__all__ = ["FORMULA", "DirectionalSearch"]


class DirectionalSearch:
    """The transition for the actual displacement, by Lanczos runs made for it.

    ``run_at(m)`` returns what removing m weights costs. Per squared radius that changes slowly with
    m, so a run at the current estimate of the transition serves its neighbourhood. Runs are added
    at each new estimate until it lies within ``resolution`` (fraction of the prunable weights) and
    ``of_survivors`` (fraction of those) of a run. Between runs the loss rise per squared radius is
    interpolated in log survivors. Its logarithm is interpolated where it is large beside epsilon,
    itself where it is small or negative. ``more`` says whether there is budget for a further run;
    the first is made in any case. A transition that is far from every run ends at the runs around
    it. ``runs`` are those there are already; further ones are added to them.
    """

    MOST_RUNS = 8

    def __init__(
        self,
        geometry: Geometry,
        run_at: Callable[[int], Direction],
        *,
        resolution: float = 0.001,
        of_survivors: float = 0.05,
        more: Callable[[], bool] = lambda: True,
        runs: dict[int, Direction] | None = None,
    ) -> None:
        self.geometry = geometry
        self.runs: dict[int, Direction] = {} if runs is None else runs
        self._run_at = run_at
        self._resolution = resolution
        self._of_survivors = of_survivors
        self._more = more

    def locate(self, effective: EffectiveDimension, first: int) -> Transition:
        """The transition for the eigenvalues as ``effective`` reads them; ``first`` is a guess."""
        geometry = self.geometry
        lowest = int(np.searchsorted(geometry.radii, 0.0, side="right"))
        if lowest > geometry.prunable:
            everything = geometry.prunable
            return Transition(everything, dict.fromkeys(SOURCES, (0, 0)), everything)
        estimate = min(max(first, lowest), geometry.prunable)
        for _ in range(self.MOST_RUNS):
            if not self._served(estimate):
                if self.runs and not self._more():
                    break
                self.runs[estimate] = self._run_at(estimate)
            estimate = largest(lambda m: self._feasible(m, effective, 0, ()), geometry.prunable)
            estimate = max(estimate, lowest)
            if self._served(estimate):
                break
        found = transition(
            lambda m, side, sources: self._feasible(m, effective, side, sources),
            geometry.prunable,
        )
        return found if self._served(found.removed) else self._bracketed(found, effective)

    def _bracketed(self, found: Transition, effective: EffectiveDimension) -> Transition:
        """``found`` far from every run, so by extrapolation, with the runs that enclose it as the
        ends by ``direction``: the farthest at which removals are feasible, the nearest at which
        they are not. What no run bounds ends at nothing and at everything."""
        feasible = {at: self._feasible(at, effective, 0, ()) for at in self.runs}
        low = max((at for at, yes in feasible.items() if yes), default=0)
        high = min((at for at, yes in feasible.items() if not yes), default=found.top)
        down, up = found.ends["direction"]
        ends = max(down, found.removed - low), max(up, high - found.removed)
        return dataclasses.replace(found, ends={**found.ends, "direction": ends})

    def width(self, effective: EffectiveDimension, removed: int) -> float:
        """How many parameters can go at the displacement of removing ``removed`` weights."""
        radius = float(self.geometry.radii[removed])

        def rise(ridge: float) -> float:
            return self._rise(removed, effective, ridge)

        most = rise(math.inf) if radius > 0 else 0.0
        ridge = solve_ridge(rise, self.geometry.epsilon, most)
        return self.geometry.dimension - effective.bound(ridge)

    def _served(self, removed: int) -> bool:
        survivors = self.geometry.dimension - removed
        near = min(self._resolution * self.geometry.prunable, self._of_survivors * survivors)
        return any(abs(removed - at) <= near for at in self.runs)

    def _feasible(
        self, removed: int, effective: EffectiveDimension, side: int, sources: tuple[str, ...]
    ) -> bool:
        radius = float(self.geometry.radii[removed])
        ridge = effective.ridge(self.geometry.dimension - removed, side, sources)
        if radius == 0 or ridge == 0:
            return True
        return self._rise(removed, effective, ridge, side, sources) <= self.geometry.epsilon

    def _rise(
        self,
        removed: int,
        effective: EffectiveDimension,
        ridge: float,
        side: int = 0,
        sources: tuple[str, ...] = (),
    ) -> float:
        """The loss rise in nats that removing ``removed`` weights leaves at ``ridge``."""
        geometry = self.geometry
        square = float(geometry.radii[removed]) ** 2
        small = geometry.epsilon / square
        places = sorted(self.runs)
        values = [
            math.asinh(_rise_of(self.runs[at], effective, ridge, side, sources) / small)
            for at in places
        ]
        positions = [-math.log(geometry.dimension - at + 1) for at in places]
        position = -math.log(geometry.dimension - removed + 1)
        return square * small * math.sinh(float(np.interp(position, positions, values)))


def _rise_of(
    direction: Direction,
    effective: EffectiveDimension,
    ridge: float,
    side: int,
    sources: tuple[str, ...],
) -> float:
    high, low = direction.rise(effective.read, ridge)
    value = (high + low) / 2
    if side and "direction" in sources:
        value += side * abs(high - low) / 2
    return value


def _search(question: Question) -> DirectionalSearch:
    directions = question.directions
    return DirectionalSearch(
        question.geometry,
        directions.run_at,
        resolution=directions.resolution,
        of_survivors=directions.of_survivors,
        more=directions.more,
        runs=directions.runs,
    )


def _transition(question: Question) -> Transition:
    """The search begins at a guess, else half way between the two limits by length alone."""
    if NAME in question.guess:
        first = question.guess[NAME].removed
    else:
        nearby = question.limit("paper"), question.limit("isotropic")
        first = between(question.geometry, *nearby)
    return _search(question).locate(question.effective, first)


def _width(question: Question, removed: int) -> float:
    return _search(question).width(question.effective, removed)


FORMULA = Formula(NAME, SOURCE, HELP, transition=_transition, width=_width, by_direction=True)
