"""Every limit, as exactly as the tolerance asks. Samples and products are added until it is."""

from __future__ import annotations

import dataclasses

from ..config import CurvatureConfig, LimitConfig
from ..limit.geometry import Geometry, Transition
from .budget import LEAST, Budget
from .estimate import Estimate, Limits
from .removal import PruningPath
from .sample_size import Carried, Sampled, choose_samples

__all__ = ["find_limits"]

MOST_PRODUCTS = 600
"""Products that may be spent where the user gives no number. Choosing samples takes others."""

WORTH = 0.25
"""Products are spent on an error only if it is above this share of the error that products cannot
reduce."""


def find_limits(
    path: PruningPath,
    geometry: Geometry,
    curvature: CurvatureConfig,
    config: LimitConfig,
    budget: Budget,
    carried: Carried,
) -> tuple[Limits, Sampled]:
    """All limits, and the samples that they were read from.

    Where the user gives no number of probes or steps, more are added for the largest error of the
    headline's interval. That ends when half of the interval is within the tolerance, when the rest
    of the interval has another cause, or with the budget.
    """
    tolerance = config.tolerance * geometry.prunable
    sampled = choose_samples(path, geometry, curvature, config, budget, carried)
    estimate, limits = sampled.estimate, sampled.limits
    if budget.max_products is None:
        budget.max_products = budget.products + MOST_PRODUCTS
        budget.max_products += (curvature.steps or 0) * (curvature.probes or 1)
    estimate.complete()
    limits = estimate.read(limits.transitions)
    while True:
        read, limits = limits, sampled.corrected(limits)
        headline = estimate.headline(limits)
        budget.note = _note(headline, geometry.prunable)
        source, ended = _next(estimate, headline, tolerance)
        if source is None:
            return dataclasses.replace(limits, ended=ended), sampled
        estimate.refine(source, headline.removed)
        limits = estimate.read(read.transitions)


def _next(estimate: Estimate, headline: Transition, tolerance: float) -> tuple[str | None, str]:
    """The source of error to spend products on; or None, and why the work ends."""
    budget, errors = estimate.curvature.budget, headline.errors
    refinable = estimate.refinable(headline.removed)
    low, high = headline.interval
    if refinable and (high - low) / 2 <= tolerance and estimate.begun:
        return None, "tolerance"
    if budget.stop_reason is not None:
        return None, budget.stop_reason
    rest = max((errors[each] for each in errors if each not in refinable), default=0.0)
    worst = max(sorted(refinable), key=lambda each: errors[each], default=None)
    if worst is None or errors[worst] <= WORTH * rest:
        for source in ("samples", "network"):
            if errors.get(source, 0.0) == rest > 0:
                return None, source
        return None, "given"
    ended, left = budget.ended(), budget.products_left()
    if ended is None and worst == "probe" and left is not None and left < LEAST:
        ended = "max-products"  # a probe begun would overdraw
    if ended is None and not estimate.vectors_fit(worst, headline.removed):
        ended = "memory"
    return (worst, "") if ended is None else (None, ended)


def _note(limit: Transition, prunable: int) -> str:
    low, high = (100 * each / prunable for each in limit.interval)
    return f"limit {100 * limit.removed / prunable:.2f}% ({low:.2f}-{high:.2f})"
