"""How many samples the curvature takes, and what they leave open of every limit.

The Hessian of n samples stands in for that of all N. Four disjoint quarters of the n tell how far:
the scatter of their limits gives the random part of the error, and what their mean is away from the
limit of the n themselves the part that goes one way.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import torch
from scipy.stats import t as student

from ..config import CurvatureConfig, LimitConfig
from ..epsilon import parse_tolerance
from ..inputs.splits import Chosen
from ..limit import Geometry, Transition
from ..results import NestedLimit
from .estimate import Estimate, Limits, PruningPath
from .spectrum import DEFAULT_SAMPLES, FIRST_STEPS, open_curvature
from .work import Work

__all__ = ["Key", "Sampled", "choose_samples"]

FIRST_SAMPLES = 1000
"""Samples that the tool begins with where it chooses their number."""

PARTS = 4
"""Disjoint subsets that are read by themselves; together they cost what all samples cost."""

FIRST_PRODUCTS = 2 * FIRST_STEPS
"""Products that a first reading takes, about."""

WORTH = 0.1
"""What the samples may leave open, as a share of what a first reading's depth does."""

Key = tuple[str, str]


@dataclasses.dataclass(frozen=True)
class Sampled:
    """A first reading, how many parameters every limit may move with more samples (nothing where
    that was not looked at), and the readings that say so."""

    estimate: Estimate
    limits: Limits
    drift: dict[Key, int]
    nested: tuple[NestedLimit, ...] = ()


def choose_samples(
    path: PruningPath,
    geometry: Geometry,
    curvature: CurvatureConfig,
    config: LimitConfig,
    work: Work,
) -> Sampled:
    """A first reading on enough samples.

    Where the user gives no number, one is chosen at which the headline's drift should be half of
    the tolerance, or a share of what the depth leaves open: both parts of it are taken to fall like
    1 / sqrt(n). Without a time to spend it is :data:`DEFAULT_SAMPLES` at most, with one as many as
    leave half of it.
    """
    everything = len(path.problem.train)
    free = curvature.samples is None and not config.no_drift
    count = curvature.samples
    if count is None:
        count = FIRST_SAMPLES if free else DEFAULT_SAMPLES
    count = everything if count == 0 or (free and everything <= 2 * count) else count
    guess: dict[Key, Transition] | None = None
    nested: list[NestedLimit] = []
    while True:
        given = dataclasses.replace(curvature, samples=count)
        estimate = Estimate(path, geometry, open_curvature(path.problem, given, work), config)
        limits = estimate.read(guess)
        alone = work.group.size * PARTS
        if config.no_drift or count >= everything or count < alone or work.cut is not None:
            if nested:
                nested.append(_nested(estimate, limits))
            return Sampled(estimate, limits, {}, tuple(nested))
        drift, quarters = _drift(estimate, limits)
        nested += [*quarters, _nested(estimate, limits)]
        found = Sampled(estimate, limits, drift, tuple(nested))
        more = _more(found, everything) if free and drift else count
        if more == count:
            return found
        estimate.retire()
        count, guess = more, limits.transitions
        # Its vectors and graphs make room for those of more samples.
        del estimate, limits, found


def _drift(estimate: Estimate, limits: Limits) -> tuple[dict[Key, int], list[NestedLimit]]:
    """What the present samples leave open of every limit, from their quarters."""
    curvature, problem = estimate.curvature, estimate.path.problem
    split, count, everything = curvature.split, len(curvature.split), len(problem.train)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(problem.seed))
    # Of each part its limits alone are kept: vectors and graphs make room for the next one's.
    read: list[dict[Key, Transition]] = []
    seconds: list[float] = []
    for part in range(PARTS):
        block = Chosen(split, order[part::PARTS].sort().values)
        config = dataclasses.replace(curvature.config, cross_check=False)
        opened = open_curvature(problem, config, curvature.work, split=block)
        opened.label, opened.share = f"part {part} of {count}", len(block) / count
        quarter = Estimate(estimate.path, estimate.geometry, opened, estimate.config, coarse=True)
        found = quarter.read(limits.transitions)
        read.append(found.transitions)
        seconds.append(_nested(quarter, found).seconds)
        quarter.retire()
        del opened, quarter, found
        if curvature.work.cut is not None:
            break
    if len(read) < 2:
        return {}, []
    level, rest = 0.5 + estimate.config.confidence / 2, 1 - count / everything
    drift = {}
    for key, each in limits.transitions.items():
        removed = np.array([found[key].removed for found in read])
        # The n samples are the quarters together: as scattered as the mean of so many.
        deviation = float(removed.std(ddof=1)) / math.sqrt(PARTS)
        random = float(student.ppf(level, len(read) - 1)) * deviation * math.sqrt(rest)
        systematic = float(removed.mean() - each.removed) * rest
        drift[key] = math.ceil(math.hypot(random, systematic))
    headlines = [found[estimate.key].removed for found in read]
    prunable = estimate.geometry.prunable
    summary = NestedLimit(
        samples=count // PARTS,
        sparsity=float(np.mean(headlines)) / prunable,
        seconds=float(np.mean(seconds)),
        parts=len(read),
        deviation=float(np.std(headlines, ddof=1)) / prunable,
    )
    return drift, [summary]


def _more(found: Sampled, everything: int) -> int:
    """The number of samples to go on with: the present one where it is enough, or all it may be."""
    estimate, work = found.estimate, found.estimate.curvature.work
    count = len(estimate.curvature.split)
    headline, prunable = estimate.headline(found.limits), estimate.geometry.prunable
    open_yet = headline.errors["depth"] + headline.errors["direction"]
    enough = max(parse_tolerance(estimate.config.tolerance) * prunable / 2, WORTH * open_yet)
    most = everything if work.max_seconds is not None else min(everything, DEFAULT_SAMPLES)
    more = count
    while found.drift[estimate.key] * _falls(count, more, everything) > enough and more < most:
        more = everything if 4 * more >= everything else 2 * more
        more = min(more, most)
    while more > count and not _affordable(more / count, estimate, work):
        more = max(count, more // 2)
    return more


def _falls(count: int, more: int, everything: int) -> float:
    """By what the drift of ``count`` samples is multiplied with ``more`` of them."""
    return math.sqrt(count / more * (1 - more / everything) / (1 - count / everything))


def _nested(estimate: Estimate, limits: Limits) -> NestedLimit:
    curvature = estimate.curvature
    return NestedLimit(
        samples=len(curvature.split),
        sparsity=estimate.headline(limits).removed / estimate.geometry.prunable,
        seconds=curvature.product.seconds / max(1, curvature.product.products),
    )


def _affordable(times: float, estimate: Estimate, work: Work) -> bool:
    """Whether a first reading of ``times`` as many samples, and of their quarters, leaves half of
    the budget."""
    if work.ended() is not None:
        return False
    needed = 2 * FIRST_PRODUCTS
    if work.max_products is not None and work.products + needed > work.max_products / 2:
        return False
    left = work.seconds_left()
    if left is None:
        return True
    product = estimate.curvature.product
    seconds = times * needed * product.seconds / max(1, product.products)
    return bool(work.group.least(int(seconds < left / 2), work.device))
