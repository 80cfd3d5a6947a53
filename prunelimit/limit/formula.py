"""A formula of the limit says which numbers of removed weights are feasible."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from .. import plugins
from ..plugins import Plugin
from .direction import Direction
from .effective_dimension import EffectiveDimension
from .geometry import Geometry, Transition

__all__ = ["Directions", "Formula", "Question"]


@dataclass
class Directions:
    """Lanczos runs for the removed weights, made where a formula wants them.

    ``runs`` are the runs made so far, by the number of weights removed; ``run_at(m)`` makes a
    further one. ``more`` says whether the budget allows a run beyond the first. A run serves its
    neighbourhood, within ``resolution`` (fraction of the prunable weights) and ``of_survivors``
    (fraction of those).
    """

    run_at: Callable[[int], Direction]
    runs: dict[int, Direction] = field(default_factory=dict)
    more: Callable[[], bool] = lambda: True
    resolution: float = 0.001
    of_survivors: float = 0.05


@dataclass(frozen=True)
class Question:
    """The question that a formula answers: what is the limit of a geometry and a spectrum?

    ``effective`` has the eigenvalues as one of the curvature's readings takes them, with their
    errors. ``guess`` holds limits by formula that are near this one, if any are known.
    """

    geometry: Geometry
    effective: EffectiveDimension
    directions: Directions
    guess: Mapping[str, Transition] = field(default_factory=dict)
    _known: dict[str, Transition] = field(default_factory=dict)

    def limit(self, formula: str) -> Transition:
        """The limit by the formula of that name; it is computed once."""
        if formula not in self._known:
            found: Formula = plugins.find("formula", formula)
            self._known[formula] = found.transition(self)
        return self._known[formula]

    def width(self, formula: str, removed: int) -> float:
        """:attr:`Formula.width` by the formula of that name."""
        found: Formula = plugins.find("formula", formula)
        return found.width(self, removed)


@dataclass(frozen=True, kw_only=True)
class Formula(Plugin):
    """A formula of the limit: the object FORMULA of a file in ``formulas``.

    ``transition`` gives the largest feasible number of removed weights, with its errors.
    ``width(question, m)`` is how many parameters can go at the displacement of removing m weights.
    The limit is the m for which this number is m itself. ``by_direction`` says that the formula
    follows the removed weights themselves (``question.directions``), not their length alone. The
    literal ``MARKER`` at the top of the file is its mark in plots. The literal ``LABEL`` is the
    name of its width there.
    """

    transition: Callable[[Question], Transition]
    width: Callable[[Question, int], float]
    by_direction: bool = False
