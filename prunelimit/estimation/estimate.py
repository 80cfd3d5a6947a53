"""Curvature + magnitudes -> every limit, and which Lanczos processes make it more exact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .. import plugins
from ..config import LimitConfig
from ..curvature.memory import available_bytes
from ..limit.direction import Direction
from ..limit.effective_dimension import EffectiveDimension
from ..limit.formula import Directions, Question
from ..limit.geometry import Geometry, Transition
from .budget import LEAST, LanczosProcess
from .curvature import FIRST_STEPS, Curvature, vectors_bytes
from .removal import PruningPath, Removal, begin_removal

__all__ = ["Estimate", "Limits"]

FIRST_DIRECTIONAL = 30
"""Lanczos steps from the removed weights with which a limit is read for the first time."""

COARSE = {"resolution": 0.02, "of_survivors": 0.25}
"""How near a limit has to be to a place that was looked at, in a coarse reading."""

GROWTH = 1.5
"""Factor by which steps are multiplied where they leave the largest error."""


@dataclass(frozen=True)
class Limits:
    """Every limit by (formula, operator), the questions by operator, and what ended the work. An
    operator is a reading of the curvature's eigenvalues."""

    questions: dict[str, Question]
    transitions: dict[tuple[str, str], Transition]
    ended: str = "given"


@dataclass
class Estimate:
    """The limits on the samples of ``curvature``, and the processes that they are read from.

    ``coarse`` looks for the limit from removed weights at fewer places.
    """

    path: PruningPath
    geometry: Geometry
    curvature: Curvature
    config: LimitConfig
    coarse: bool = False
    removals: dict[int, Removal] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._directional = min(
            FIRST_DIRECTIONAL, self.config.directional_steps or FIRST_DIRECTIONAL
        )
        steps = self.curvature.config.steps
        self._first = FIRST_STEPS if steps is None else min(FIRST_STEPS, steps)
        left = self.curvature.budget.products_left()
        if left is not None:  # the removed weights want their half
            probes = self.curvature.config.probes or 1
            self._first = min(self._first, max(LEAST, left // (2 * probes)))
        for _ in range(self.curvature.config.probes or 1):
            self.curvature.add_probe(self._first)

    def read(self, guess: Mapping[tuple[str, str], Transition] | None = None) -> Limits:
        """All limits from the steps taken. The search starts from ``guess`` and begins directions
        where it needs them."""
        curvature = self.curvature
        directions = Directions(
            self._run_at,
            {m: each.direction for m, each in self._deep().items()},
            self._more,
            **(COARSE if self.coarse else {}),
        )
        questions: dict[str, Question] = {}
        transitions: dict[tuple[str, str], Transition] = {}
        for operator, read in curvature.operator.readings.items():
            question = questions[operator] = Question(
                self.geometry,
                EffectiveDimension(curvature.spectrum, read, self.config.confidence),
                directions,
                {
                    formula: each
                    for (formula, other), each in (guess or {}).items()
                    if other == operator
                },
            )
            # Limits by length alone are cheap. The other searches begin at them.
            for formula in reversed(self._formulas()):
                transitions[formula, operator] = question.limit(formula)
        return Limits(questions, transitions)

    def _formulas(self) -> list[str]:
        """Our own formulas, and the headline's if another package made it. No others are asked."""
        wanted = self.config.formula
        return [
            each.name
            for each in plugins.describe("formula")
            if each.package == "prunelimit" or each.name == wanted
        ]

    def _more(self) -> bool:
        """Whether the budget has room for a further direction."""
        budget = self.curvature.budget
        left = budget.products_left()
        return budget.ended() is None and (left is None or left > LEAST)

    def _run_at(self, removed: int) -> Direction:
        removal = begin_removal(self.path, self.curvature, removed)
        steps = [each.process.steps for each in self.removals.values()]
        removal.process.grow(max([self._directional, *steps]))
        self.removals[removed] = removal
        return removal.direction

    def complete(self) -> None:
        """Take the steps that the user gave, beyond those of a first reading."""
        if self.curvature.config.steps is not None:
            self.curvature.deepen(self.curvature.config.steps)
        if self.config.directional_steps is not None:
            self._directional = self.config.directional_steps
            for process in self._processes:
                process.grow(self._directional)

    @property
    def _processes(self) -> list[LanczosProcess]:
        """Those of the removals."""
        return [each.process for each in self.removals.values()]

    @property
    def begun(self) -> bool:
        """Whether every process has the steps of a first reading. With fewer its bracket says
        little."""
        wanted = [(each, self._first) for each in self.curvature.probes]
        wanted += [(each, self._directional) for each in self._processes]
        return all(each.steps >= least or each.exhausted for each, least in wanted)

    def retire(self) -> None:
        """Put the processes away for good; what was read from them stays."""
        self.curvature.budget.retire([*self.curvature.probes, *self._processes])

    @property
    def key(self) -> tuple[str, str]:
        """Formula and operator of the headline: the limit that the user is told, and that the
        tolerance is about."""
        return self.config.formula, self.curvature.operator.headline

    def headline(self, limits: Limits) -> Transition:
        """The headline of ``limits``."""
        return limits.transitions[self.key]

    def refine(self, source: str, removed: int) -> None:
        """Spend products on the error that ``source`` leaves in a limit at ``removed``."""
        if source == "probe":
            self.curvature.add_probe(self.curvature.steps)
        elif source == "depth":
            self.curvature.deepen(round(GROWTH * self.curvature.steps))
        else:
            for process in self._nearest(removed):
                process.grow(round(GROWTH * process.steps))

    def refinable(self, removed: int) -> set[str]:
        """The sources of error that more steps could lessen, and that the user left to the tool."""
        config = self.curvature.config
        found = set()
        if config.probes is None:
            found.add("probe")
        if config.steps is None and not all(each.exhausted for each in self.curvature.probes):
            found.add("depth")
        nearest = self._nearest(removed)
        if self.config.directional_steps is None and not all(each.exhausted for each in nearest):
            found.add("direction")
        return found

    def _deep(self) -> dict[int, Removal]:
        """The removals that have at least half as many steps as any. The ends of an interval are
        better read from these, nearby, than from a removal with fewer steps."""
        deepest = max((each.steps for each in self._processes), default=0)
        return {
            removed: each
            for removed, each in self.removals.items()
            if 2 * each.process.steps >= deepest or each.process.exhausted
        }

    def _nearest(self, removed: int) -> list[LanczosProcess]:
        """The processes on either side of ``removed``, from which its limit is interpolated."""
        below = [m for m in self._deep() if m <= removed]
        above = [m for m in self._deep() if m > removed]
        places = ([max(below)] if below else []) + ([min(above)] if above else [])
        return [self.removals[m].process for m in places]

    def vectors_fit(self, source: str, removed: int) -> bool:
        """Whether there is memory for the Lanczos vectors that refining ``source`` adds."""
        steps = self.curvature.steps
        if source != "probe":
            process = self.curvature.probes if source == "depth" else self._nearest(removed)
            steps = sum(round((GROWTH - 1) * each.steps) for each in process)
        problem, group = self.path.problem, self.curvature.budget.group
        need = vectors_bytes(problem, self.curvature.config, steps, group)
        fits = need < available_bytes(problem.device)
        return bool(group.all_reduce_min(int(fits), problem.device))
