"""Curvature + magnitudes -> every limit, as exactly as the tolerance asks and the budget allows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..config import LimitConfig
from ..curvature.memory import available_bytes
from ..effective import EffectiveDimension
from ..epsilon import parse_tolerance
from ..inputs.problem import Problem
from ..lanczos import LanczosRun
from ..limit import (
    DirectionalSearch,
    Geometry,
    Transition,
    between,
    isotropic_transition,
    paper_transition,
    widened,
)
from ..spectrum import OPERATORS, Spectrum
from .spectrum import FIRST_STEPS, Curvature, open_curvature, vectors_bytes
from .work import Growing

__all__ = ["Limits", "PruningPath", "find_limits"]

FIRST_DIRECTIONAL = 30
"""Steps from the removed weights from which a limit is read for the first time."""

GROWTH = 1.5
"""By which steps are multiplied where they leave the largest error."""

MOST_PRODUCTS = 600
"""Products that may be spent where the user gives no number."""

WORTH = 0.25
"""An error below this share of one that nothing can be done about is not worth products."""


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
class Limits:
    """Every limit by (formula, operator), what it was read from, and what ended the work."""

    readings: dict[str, EffectiveDimension]
    search: DirectionalSearch
    transitions: dict[tuple[str, str], Transition]
    ended: str = "given"


@dataclass
class _Estimate:
    """The limits on the samples of ``curvature``, and the processes that they are read from."""

    path: PruningPath
    geometry: Geometry
    curvature: Curvature
    config: LimitConfig
    directions: dict[int, Growing] = field(default_factory=dict)

    def read(self, depths: tuple[int, int] | None = None, guess: Limits | None = None) -> Limits:
        """All limits from the steps taken; from no more than ``depths`` of them, of probes and of
        directions, where given. Directions are begun where the search, from ``guess``, wants them.
        """
        spectrum = self.curvature.spectrum
        if depths is not None:
            spectrum = Spectrum(
                spectrum.dimension, tuple(run.leading(depths[0]) for run in spectrum.runs)
            )
        readings = {
            name: EffectiveDimension(spectrum, name, self.config.confidence)
            for name in OPERATORS[self.curvature.config.curvature]
        }
        search = DirectionalSearch(self.geometry, self._run_at(depths))
        search.runs.update(
            {m: _shallow(growing.run, depths) for m, growing in self.directions.items()}
        )
        transitions: dict[tuple[str, str], Transition] = {}
        for operator, effective in readings.items():
            paper = paper_transition(self.geometry, effective)
            isotropic = isotropic_transition(self.geometry, effective)
            first = between(self.geometry, paper, isotropic)
            if guess is not None:
                first = guess.transitions["directional", operator].removed
            transitions["paper", operator] = paper
            transitions["isotropic", operator] = isotropic
            transitions["directional", operator] = search.locate(effective, first)
        return Limits(readings, search, transitions)

    def _run_at(self, depths: tuple[int, int] | None) -> Callable[[int], LanczosRun]:
        def run_at(removed: int) -> LanczosRun:
            growing = self.curvature.begin(f"direction {removed}", self.path.displacement(removed))
            others = [each.steps for each in self.directions.values()]
            growing.grow(self.config.directional_steps or max([FIRST_DIRECTIONAL, *others]))
            self.directions[removed] = growing
            return _shallow(growing.run, depths)

        return run_at

    def headline(self, limits: Limits) -> Transition:
        """The limit that the user is told, and that the tolerance is about."""
        operator = OPERATORS[self.curvature.config.curvature][0]
        return limits.transitions[self.config.formula, operator]

    def refine(self, source: str, removed: int) -> None:
        """Spend products on what ``source`` leaves open of a limit at ``removed``."""
        if source == "probe":
            self.curvature.add_probe(self.curvature.steps)
        elif source == "depth":
            self.curvature.deepen(round(GROWTH * self.curvature.steps))
        else:
            for growing in self._nearest(removed):
                growing.grow(round(GROWTH * growing.steps))

    def refinable(self, removed: int) -> set[str]:
        """The sources of error that the user left to the tool and more steps could lessen."""
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

    def _nearest(self, removed: int) -> list[Growing]:
        """The directions on either side of ``removed``, which its limit is interpolated from."""
        below = [m for m in self.directions if m <= removed]
        above = [m for m in self.directions if m > removed]
        places = ([max(below)] if below else []) + ([min(above)] if above else [])
        return [self.directions[m] for m in places]

    def vectors_fit(self, source: str, removed: int) -> bool:
        """Whether there is memory for the Lanczos vectors that refining ``source`` adds."""
        steps = self.curvature.steps
        if source != "probe":
            growing = self.curvature.probes if source == "depth" else self._nearest(removed)
            steps = sum(round((GROWTH - 1) * each.steps) for each in growing)
        problem, group = self.path.problem, self.curvature.work.group
        need = vectors_bytes(problem, self.curvature.config, steps, group)
        fits = need < available_bytes(problem.device)
        return bool(group.least(int(fits), problem.device))


def _shallow(run: LanczosRun, depths: tuple[int, int] | None) -> LanczosRun:
    return run if depths is None else run.leading(depths[1])


def find_limits(
    path: PruningPath, geometry: Geometry, curvature: Curvature, config: LimitConfig
) -> Limits:
    """All limits.

    Probes and steps that the user did not give are added, each time where the headline's interval
    is widest for want of them, until half of it is within the tolerance, what is left comes of
    something else, or the budget ends. The intervals hold how far half of the samples would move
    the limits: a bias that falls like 1/n is as large again beyond n samples as between n/2 and n.
    Where the samples are all there are, nothing is added.
    """
    tolerance = parse_tolerance(config.tolerance) * geometry.prunable
    work = curvature.work
    estimate = _Estimate(path, geometry, curvature, config)
    for _ in range(curvature.config.probes or 1):
        curvature.add_probe(
            FIRST_STEPS if curvature.config.steps is None else curvature.config.steps
        )
    limits = estimate.read()
    drift = _drift(estimate, limits)
    if work.max_products is None:
        work.max_products = max(work.products, MOST_PRODUCTS)
    while True:
        for key, apart in drift.items():
            limits.transitions[key] = widened(
                limits.transitions[key], apart, "samples", geometry.prunable
            )
        headline = estimate.headline(limits)
        work.note = _note(headline, geometry.prunable)
        source, ended = _next(estimate, headline, tolerance)
        if source is None:
            return dataclasses.replace(limits, ended=ended)
        estimate.refine(source, headline.removed)
        limits = estimate.read(guess=limits)


def _next(estimate: _Estimate, headline: Transition, tolerance: float) -> tuple[str | None, str]:
    """The source of error to spend products on; None, and why, where there is none."""
    work, errors = estimate.curvature.work, headline.errors
    refinable = estimate.refinable(headline.removed)
    low, high = headline.interval
    if refinable and (high - low) / 2 <= tolerance:
        return None, "tolerance"
    if work.cut is not None:
        return None, work.cut
    rest = max((errors[each] for each in errors if each not in refinable), default=0.0)
    worst = max(sorted(refinable), key=lambda each: errors[each], default=None)
    if worst is None or errors[worst] <= WORTH * rest:
        return None, "samples" if errors.get("samples", 0.0) == rest > 0 else "given"
    ended = work.ended()
    if ended is None and not estimate.vectors_fit(worst, headline.removed):
        ended = "memory"
    return (worst, "") if ended is None else (None, ended)


def _drift(estimate: _Estimate, limits: Limits) -> dict[tuple[str, str], int]:
    """How far halving the samples moves every limit; empty where they are all there are, or the
    budget has ended.

    Both are read at the depth of a first reading, so that what more depth changes in either is no
    part of their difference.
    """
    curvature, problem = estimate.curvature, estimate.path.problem
    used = len(curvature.split)
    wanted = not estimate.config.no_drift and curvature.work.cut is None
    if not wanted or used == len(problem.train) or used < 2:
        return {}
    fewer = dataclasses.replace(curvature.config, samples=used // 2)
    shallow = min(FIRST_DIRECTIONAL, estimate.config.directional_steps or FIRST_DIRECTIONAL)
    halved = _Estimate(
        estimate.path,
        estimate.geometry,
        open_curvature(problem, fewer, curvature.work),
        dataclasses.replace(estimate.config, directional_steps=shallow),
    )
    depths = min(FIRST_STEPS, curvature.steps), shallow
    for _ in curvature.probes:
        halved.curvature.add_probe(depths[0])
    whole = estimate.read(depths, limits)
    half = halved.read(depths, whole)
    return {
        key: abs(half.transitions[key].removed - each.removed)
        for key, each in whole.transitions.items()
    }


def _note(limit: Transition, prunable: int) -> str:
    low, high = (100 * each / prunable for each in limit.interval)
    return f"limit {100 * limit.removed / prunable:.2f}% ({low:.2f}-{high:.2f})"
