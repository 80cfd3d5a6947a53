"""Where to measure, and the thresholds read from what was measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist

from ..config import MeasureConfig
from ..errors import UsageError
from ..pruning.magnitude import removal_count
from ..results.types import BudgetPoint, MeasurePoint, Threshold, Witness
from .networks import BUDGETS
from .points import Point, Points

__all__ = ["BEYOND", "SPACING", "Search"]

COARSE = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 1.0)
SPACING = math.sqrt(0.5)
"""If survivors move, each of the first sparsities leaves this share of the survivors before. Two of
these steps make a halving, with which stages begin."""
BEYOND = 2
"""They end when so many in a row hold no rule."""
CONFIRMING = 3
"""Points measured just below a crossing."""
SURVIVORS = 0.05
"""The feasibility threshold is found to this share of the survivors, if that is coarser than the
resolution."""
END_COARSENESS = 5
"""The ends of an interval are found to this many times the resolution, rounded outwards."""

_Rule = Callable[[Point], bool]


class Search:
    """Thresholds of ``points`` at the accuracy ``tolerances`` (fractions), to the resolution of
    ``config``. Those of accuracy are there only if the metric falls by points."""

    def __init__(
        self, points: Points, config: MeasureConfig, tolerances: tuple[float, ...]
    ) -> None:
        self.points = points
        self.config = config
        self.tolerances = tolerances if points.points else ()
        self.prunable = points.prunable
        self._refits = points.method.survivors == "trained"
        self._step = max(1, math.floor(config.resolution * self.prunable))
        self._z = NormalDist().inv_cdf(0.5 + config.confidence / 2)

    def run(
        self, wanted: Sequence[float] | None, also: Sequence[float] = ()
    ) -> tuple[tuple[MeasurePoint, ...], tuple[Threshold, ...]]:
        """The curve and the thresholds. If there are ``wanted`` sparsities, only those are
        measured. The sparsities ``also`` are measured in any case."""
        if wanted is not None:
            wanted = [*wanted, *also]
            counts = [removal_count(value, self.prunable) for value in wanted]
            if max(counts, default=0) > self.points.top:
                raise UsageError(
                    f"`pattern` {self.points.method.pattern} removes at most "
                    f"{self.points.top / self.prunable:.2%}; give smaller `sparsities`."
                )
            self.points.planned = len({0, *counts}) + 1
            for removed in counts:
                self.points.at(removed)
        elif self._refits:
            self._search_refit()
        elif self.points.method.moves:
            self._search_moved()
        else:
            self._search_one_shot()
        beside = [removal_count(value, self.prunable) for value in also] if wanted is None else []
        for removed in sorted(set(beside)):
            if removed <= self.points.top:
                self.points.at(removed)
        known = self.points.known
        if not self._refits:
            self.points.progress("measuring", len(known), len(known))
        curve = tuple(
            MeasurePoint(
                sparsity=removed / self.prunable,
                accuracy=known[removed].accuracy,
                loss=known[removed].loss,
                nonzero=known[removed].nonzero,
                passes=known[removed].passes if self._refits else None,
                outcome=known[removed].outcome,
            )
            for removed in sorted(known if wanted is None else set(counts))
        )
        return curve, self._thresholds()

    # -- searches --------------------------------------------------------------------------

    def _search_one_shot(self) -> None:
        counts = (removal_count(value, self.prunable) for value in COARSE)
        coarse = sorted({min(self.points.top, removed) for removed in counts})
        self._plan(len(coarse))
        for removed in coarse:
            self.points.at(removed)
        self._refine_all()

    def _search_moved(self) -> None:
        """Fewer survivors by :data:`SPACING` until no rule holds any more, then bisect."""
        self._plan(math.ceil(math.log(self.prunable) / -math.log(SPACING)))
        rules = [self._within(tolerance, -1) for tolerance in (*self.tolerances, 0.0)]
        kept, failed, fewest = self.prunable, 0, self.prunable - self.points.top
        while kept > fewest and failed < BEYOND:
            kept = max(fewest, min(kept - 1, round(kept * SPACING)))
            point = self.points.at(self.prunable - kept)
            failed = 0 if any(rule(point) for rule in (*rules, _feasible)) else failed + 1
        self._refine_all()

    def _plan(self, coarse: int) -> None:
        bisections = math.ceil(math.log2(max(2.0, 0.1 / self.config.resolution)))
        self.points.planned = coarse + (bisections + CONFIRMING) * (len(self.tolerances) + 2)

    def _refine_all(self) -> None:
        for tolerance in self.tolerances:
            self._refine(self._within(tolerance, 0), confirm=True)
            for sign in (1, -1):
                self._refine(self._within(tolerance, sign), coarseness=END_COARSENESS)
        self._refine(_feasible, confirm=True)
        self._refine(self._within(0.0, 0), last=True)

    def _search_refit(self) -> None:
        """Halve the survivors until infeasible within the largest budget, then bisect in the
        logarithm of survivors. Bisect for the smaller budgets too, with the same networks."""
        for multiple in reversed(BUDGETS):
            rule, last = self._within_passes(multiple), multiple == BUDGETS[-1]
            kept, fewest = self.prunable, self.prunable - self.points.top
            while kept > fewest:
                smaller = max(fewest, kept // 2)
                if not rule(self.points.at(self.prunable - smaller)):
                    self._bisect_refit(rule, last=last)
                    break
                kept = smaller

    def _bisect_refit(self, rule: _Rule, *, last: bool) -> None:
        while True:
            low, high = self._crossing(rule, last=last)
            assert high is not None
            holding, failing = self.prunable - low, self.prunable - high
            if holding - failing <= max(self._step, SURVIVORS * holding):
                return
            middle = round(math.sqrt(max(failing, 0.5) * holding))
            self.points.at(self.prunable - min(holding - 1, max(failing + 1, middle)))

    def _within_passes(self, multiple: int) -> _Rule:
        """Feasible within so many times the passes that were asked for."""
        budget = multiple * self.config.refit_passes
        return lambda p: p.feasible and p.passes <= budget

    def witness(self) -> Witness | None:
        """The feasibility threshold by budget, from the points measured; None for other methods
        than refit.

        By the largest budget, what fails below a point that holds is no matter. Where masks are
        nested, the survivors that were found there are settings at any lower sparsity too. Smaller
        budgets have to hold at all lower sparsities, since the training there may have begun with
        more passes."""
        if not self._refits:
            return None
        budgets = tuple(
            BudgetPoint(
                passes=float(multiple * self.config.refit_passes), sparsity=found[0], interval=found
            )
            for multiple in BUDGETS
            for found in [self._ends(self._within_passes(multiple), last=multiple == BUDGETS[-1])]
        )
        return Witness(
            budgets=budgets,
            converged_pp=100 * (budgets[-1].sparsity - budgets[-2].sparsity),
            minibatch_passes=self.points.networks.minibatch_passes,
        )

    def _within(self, tolerance: float, sign: int) -> _Rule:
        """Drop within tolerance. By ``sign``, the sampling error is added to the drop or
        subtracted."""
        # Shares of samples are sums of 1/n: a drop of exactly the tolerance must hold.
        slack = 1e-12
        return lambda p: p.drop + sign * self._z * p.standard_error <= tolerance + slack

    def _crossing(self, rule: _Rule, *, last: bool = False) -> tuple[int, int | None]:
        """Two numbers of removed weights: the last that holds, as all before it do, and the next,
        which fails.

        With ``last``, the largest that holds at all; if survivors were trained, then only if its
        survivors are among those of every one that fails before it. The second is None when there
        is none after.
        """
        counts = sorted(self.points.known)
        held = [rule(self.points.known[removed]) for removed in counts]
        if last:
            downwards = reversed(range(len(held)))
            index = next(i for i in downwards if held[i] and self._proves(i, counts, held))
        else:
            index = held.index(False) - 1 if False in held else len(held) - 1
        return counts[index], counts[index + 1] if index + 1 < len(counts) else None

    def _proves(self, index: int, counts: list[int], held: list[bool]) -> bool:
        """Whether the survivors found there are settings of every network before it that failed."""
        if not self._refits:
            return True
        mask = self.points.networks.selection.mask
        failed = [removed for removed, ok in zip(counts[:index], held, strict=False) if not ok]
        return not any(bool((mask(counts[index]) & ~mask(removed)).any()) for removed in failed)

    def _refine(
        self, rule: _Rule, *, coarseness: int = 1, confirm: bool = False, last: bool = False
    ) -> None:
        """Measure points until the crossing is known to the resolution, and confirmed below."""
        step = self._step * coarseness
        while True:
            low, high = self._crossing(rule, last=last)
            if high is not None and high - low > step:
                self.points.at((low + high) // 2)
                continue
            below = [low - k * self._step for k in range(1, CONFIRMING + 1)] if confirm else []
            known = self.points.known
            missing = [removed for removed in below if removed > 0 and removed not in known]
            if not missing:
                return
            for removed in missing:
                self.points.at(removed)

    # -- thresholds ------------------------------------------------------------------------

    def _thresholds(self) -> tuple[Threshold, ...]:
        thresholds = []
        if self._refits:
            thresholds.append(self._bracketed("feasibility"))
        thresholds += [self._accuracy("accuracy", tolerance) for tolerance in self.tolerances]
        if not self._refits:
            thresholds.append(self._accuracy("dense-accuracy", 0.0, last=True))
            thresholds.append(self._bracketed("loss"))
        return tuple(thresholds)

    def _bracketed(self, rule: str) -> Threshold:
        interval = self._ends(_feasible, last=self._refits)
        return Threshold(
            rule=rule,
            tolerance=self.points.epsilon.value,
            sparsity=interval[0],
            interval=interval,
        )

    def _ends(self, rule: _Rule, *, last: bool) -> tuple[float, float]:
        """Sparsities of the point before the crossing and of the next."""
        low, high = self._crossing(rule, last=last)
        return low / self.prunable, self._end(high)

    def _accuracy(self, rule: str, tolerance: float, *, last: bool = False) -> Threshold:
        """The threshold with its interval, whose upper end is the first point beyond it."""
        sparsity, _ = self._crossing(self._within(tolerance, 0), last=last)
        low, _ = self._crossing(self._within(tolerance, 1), last=last)
        _, high = self._crossing(self._within(tolerance, -1), last=last)
        return Threshold(
            rule=rule,
            tolerance=tolerance,
            sparsity=sparsity / self.prunable,
            interval=(low / self.prunable, self._end(high)),
        )

    def _end(self, removed: int | None) -> float:
        """The sparsity of ``removed``; the most that can go if nothing measured has failed."""
        return (self.points.top if removed is None else removed) / self.prunable


def _feasible(point: Point) -> bool:
    return point.feasible
