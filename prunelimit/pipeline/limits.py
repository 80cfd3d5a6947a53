"""Every limit, as exactly as the tolerance asks, and the samples and products that it takes."""

from __future__ import annotations

import dataclasses

from ..config import CurvatureConfig, LimitConfig
from ..epsilon import parse_tolerance
from ..limit import Geometry, Transition
from ..results import NestedLimit
from .estimate import Estimate, Limits, PruningPath
from .spectrum import DEFAULT_SAMPLES, FIRST_STEPS, Curvature, open_curvature
from .work import Work

__all__ = ["find_limits"]

FIRST_SAMPLES = 1000
"""Samples that the tool begins with where it chooses their number."""

FIRST_PRODUCTS = 2 * FIRST_STEPS
"""Products that a first reading takes, about."""

MOST_PRODUCTS = 600
"""Products that may be spent where the user gives no number, beside those of choosing samples."""

WORTH = 0.25
"""An error below this share of one that nothing can be done about is not worth products."""

SAMPLES_WORTH = 0.1
"""What halving the samples may move, as a share of what a first reading's depth leaves open."""

Key = tuple[str, str]


def find_limits(
    path: PruningPath,
    geometry: Geometry,
    curvature: CurvatureConfig,
    config: LimitConfig,
    work: Work,
) -> tuple[Limits, Curvature, tuple[NestedLimit, ...]]:
    """All limits, the curvature that they were read from, and the headline from fewer samples.

    Probes and steps that the user did not give are added, each time where the headline's interval
    is widest for want of them, until half of it is within the tolerance, what is left comes of
    something else, or the budget ends.
    """
    tolerance = parse_tolerance(config.tolerance) * geometry.prunable
    estimate, limits, drift, nested = _choose_samples(path, geometry, curvature, config, work)
    if work.max_products is None:
        work.max_products = work.products + MOST_PRODUCTS
        work.max_products += (curvature.steps or 0) * (curvature.probes or 1)
    estimate.complete()
    limits = estimate.read(limits)
    while True:
        for key, apart in drift.items():
            limits.transitions[key] = limits.transitions[key].widened(apart, "samples")
        headline = estimate.headline(limits)
        work.note = _note(headline, geometry.prunable)
        source, ended = _next(estimate, headline, tolerance)
        if source is None:
            return dataclasses.replace(limits, ended=ended), estimate.curvature, nested
        estimate.refine(source, headline.removed)
        limits = estimate.read(limits)


def _choose_samples(
    path: PruningPath,
    geometry: Geometry,
    curvature: CurvatureConfig,
    config: LimitConfig,
    work: Work,
) -> tuple[Estimate, Limits, dict[Key, int], tuple[NestedLimit, ...]]:
    """A first reading on enough samples, and how far halving them moves every limit.

    Samples are nested and doubled while halving them moves the headline by more than half the
    tolerance and by a share of what the depth leaves open, and the time allows. The distance goes
    into the interval, as the scale of what more samples would change and no bound on it. Where the
    samples are all there are, there is none.
    """
    everything = len(path.problem.train)
    chosen = curvature.samples is None and not config.no_drift
    count = curvature.samples
    if count is None:
        count = FIRST_SAMPLES if chosen else DEFAULT_SAMPLES
    count = everything if count == 0 or (chosen and everything <= 2 * count) else count

    def begin(samples: int, guess: Limits | None = None) -> tuple[Estimate, Limits]:
        given = dataclasses.replace(curvature, samples=samples)
        estimate = Estimate(path, geometry, open_curvature(path.problem, given, work), config)
        return estimate, estimate.read(guess)

    estimate, limits = begin(count)
    if config.no_drift or count >= everything or count < 2 or work.cut is not None:
        return estimate, limits, {}, ()
    half, of_half = begin(count // 2, limits)
    nested = [_nested(half, of_half)]
    half.retire()
    del half
    tolerance = parse_tolerance(config.tolerance) * geometry.prunable
    while True:
        nested.append(_nested(estimate, limits))
        headline = estimate.headline(limits)
        moved = abs(headline.removed - estimate.headline(of_half).removed)
        open_yet = headline.errors["depth"] + headline.errors["direction"]
        enough = moved <= max(tolerance / 2, SAMPLES_WORTH * open_yet)
        if not chosen or enough or not _time_for(2, estimate, work):
            drift = {
                key: abs(each.removed - of_half.transitions[key].removed)
                for key, each in limits.transitions.items()
            }
            return estimate, limits, drift, tuple(nested)
        estimate.retire()
        of_half, count = limits, min(2 * count, everything)
        estimate, limits = begin(count, limits)
        if count == everything:
            nested.append(_nested(estimate, limits))
            return estimate, limits, {}, tuple(nested)


def _nested(estimate: Estimate, limits: Limits) -> NestedLimit:
    curvature = estimate.curvature
    return NestedLimit(
        samples=len(curvature.split),
        sparsity=estimate.headline(limits).removed / estimate.geometry.prunable,
        seconds=curvature.product.seconds / max(1, curvature.product.products),
    )


def _time_for(times: int, estimate: Estimate, work: Work) -> bool:
    """Whether a first reading of ``times`` as many samples leaves half of the budget."""
    if work.ended() is not None:
        return False
    if work.max_products is not None and work.products + FIRST_PRODUCTS > work.max_products / 2:
        return False
    left = work.seconds_left()
    if left is None:
        return True
    product = estimate.curvature.product
    needed = times * FIRST_PRODUCTS * product.seconds / max(1, product.products)
    return bool(work.group.least(int(needed < left / 2), work.device))


def _next(estimate: Estimate, headline: Transition, tolerance: float) -> tuple[str | None, str]:
    """The source of error to spend products on; None, and why, where there is none."""
    work, errors = estimate.curvature.work, headline.errors
    refinable = estimate.refinable(headline.removed)
    low, high = headline.interval
    if refinable and (high - low) / 2 <= tolerance and estimate.begun:
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


def _note(limit: Transition, prunable: int) -> str:
    low, high = (100 * each / prunable for each in limit.interval)
    return f"limit {100 * limit.removed / prunable:.2f}% ({low:.2f}-{high:.2f})"
