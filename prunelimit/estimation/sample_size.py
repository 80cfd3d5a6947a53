"""Which samples the curvature takes, and what error they leave in every limit.

*GGN.* Sample i enters as J_i^T B_i J_i, with B_i the second derivative of its loss in the outputs.
The trace of B_i is next to nothing where the network is sure. So the samples of largest trace are
taken, each with its weight 1/N in the loss of all N. What they leave out only adds to the matrix,
in the Loewner order. So a limit read from them is too high, and falls as more are taken. It was
seen to fall in proportion to the share of the traces that is left out
(``benchmarks/samples.py``). Two readings, from these samples and from fewer of them, give the
slope; the limit is read off where nothing is left out. The interval reaches from the reading
itself, which is an upper bound, to as far below.

*Hessian.* It depends on the labels, and no sample's part is known beforehand. A uniform draw of n
samples stands in for all N. Four disjoint quarters of the n tell how good that is. The scatter of
their limits gives the random part of the error. The distance of their mean from the limit of all n
gives the systematic part.
"""

from __future__ import annotations

import dataclasses
import math
from functools import cached_property

import numpy as np
import torch
from scipy.special import stdtrit

from .. import plugins
from ..config import CurvatureConfig, LimitConfig
from ..curvature import operator_of
from ..inputs.problem import Split
from ..inputs.splits import SplitSubset
from ..limit.geometry import Geometry, Transition
from ..randomness import generator
from ..results.types import NestedLimit
from .budget import Budget
from .curvature import DEFAULT_SAMPLES, FIRST_STEPS, open_curvature
from .estimate import Estimate, Limits
from .removal import PruningPath

__all__ = ["Carried", "Key", "Sampled", "choose_samples"]

FIRST_SAMPLES = 1000
"""Samples that the tool begins with where it chooses their number."""

PARTS = 4
"""Disjoint subsets that are read by themselves. Together they cost as much as all samples."""

PRODUCT_EVALUATIONS = 4
"""A product costs about as much, per sample, as so many evaluations."""

FIRST_PRODUCTS = 2 * FIRST_STEPS
"""Products that a first reading takes, about."""

WORTH = 0.1
"""The error that the samples may leave, as a share of the error by a first reading's depth."""

SLOPE = 0.2
"""Percentage points by which a limit is too high per percent of the traces that is left out. It
serves to guess how many samples are needed. It also stands for the slope where no products are left
to read it. 0.09 to 0.19 were seen."""

SATURATED = 0.999
"""If a limit is above this share of the weights, it can hardly rise with fewer samples."""

NESTED = 4
"""The smaller of two nested sets of samples leaves out so many times as much as the larger."""

LEANING = 0.02
"""Share of the prunable weights by which two limits may differ: with all parameters free, and with
the prunable ones alone. They differ by one to two points on perceptrons (``benchmarks/gaps.py``),
and by no more on a residual network. The limits of these hold. They differ by six points on
transformers, whose limits do not hold. Where few weights are left, such a share is many: so the
difference may not be more than the weights that are left either. On LeNet-300-100 and the digits it
is eight times those. There, survivors reach the limit of the prunable weights alone
(``benchmarks/prediction.py``)."""

FEWEST = 20
"""Least number of samples that are read by themselves."""

Key = tuple[str, str]


@dataclasses.dataclass(frozen=True)
class Carried:
    """The training samples in the order of what they carry: the largest traces first.

    ``traces`` (N,) float64 are those of the samples' output curvature, in the split's order.
    """

    split: Split
    traces: np.ndarray

    @cached_property
    def order(self) -> np.ndarray:
        """Indices, largest trace first; equal ones in the split's order."""
        return np.asarray(np.argsort(-self.traces, kind="stable"))

    @cached_property
    def _shares(self) -> np.ndarray:
        total = float(self.traces.sum())
        if not total > 0:
            return np.ones(len(self.traces) + 1)
        summed = np.concatenate([[0.0], np.cumsum(self.traces[self.order])])
        return np.asarray(np.minimum(1.0, summed / summed[-1]))

    def share(self, count: int) -> float:
        """Share of all traces that the first ``count`` samples carry; 1 where all are zero."""
        return 1.0 if count >= len(self.traces) else float(self._shares[count])

    def count(self, share: float) -> int:
        """The fewest samples that carry ``share``."""
        return min(len(self.traces), max(1, int(np.searchsorted(self._shares, share))))

    def first(self, count: int) -> Split:
        """The first ``count`` samples, in the split's order; all of it where that is all."""
        if count >= len(self.traces):
            return self.split
        return SplitSubset(self.split, torch.from_numpy(np.sort(self.order[:count])))


@dataclasses.dataclass(frozen=True)
class Sampled:
    """A first reading, by how many parameters every limit may move with more samples, and the
    readings that say so. The movements are empty if they were not looked at.

    ``falls`` says that limits fall with more samples, as those of the GGN do. The drift is then
    taken off, and is the error too. Below, the error is at least ``slack``, where the fewer samples
    were too few to show how fast limits fall. ``carried`` is the share of the traces that the
    samples carry. ``leaning`` is how many fewer weights could go if the prunable weights alone were
    free to move. The linear model lets the other parameters make up for that many. No network was
    seen to let biases and embeddings make up for its weights that far. Beyond :data:`LEANING` the
    limit is therefore the middle of the two, and known no better than that.
    """

    estimate: Estimate
    limits: Limits
    drift: dict[Key, int]
    nested: tuple[NestedLimit, ...] = ()
    falls: bool = False
    carried: float | None = None
    leaning: dict[Key, int] = dataclasses.field(default_factory=dict)
    slack: dict[Key, int] = dataclasses.field(default_factory=dict)

    def corrected(self, limits: Limits) -> Limits:
        """``limits``, read from the present samples, for all of them."""
        found = dict(limits.transitions)
        for key, apart in self.drift.items():
            if self.falls:
                found[key] = found[key].lowered(apart, "samples", self.slack.get(key, 0))
            else:
                found[key] = found[key].widened(apart, "samples")
        for key, apart in self.leaning.items():
            each = found[key]
            if apart > min(LEANING * each.top, each.top - each.removed):
                found[key] = each.lowered(-(-apart // 2), "network")
        return dataclasses.replace(limits, transitions=found)

    def alone(self, key: Key, corrected: Transition) -> int | None:
        """How many weights could go by a limit of :meth:`corrected` if the prunable weights alone
        were free to move; None where that was not looked at."""
        apart = self.leaning.get(key)
        if apart is None:
            return None
        return max(0, corrected.removed - (apart // 2 if "network" in corrected.ends else apart))


def choose_samples(
    path: PruningPath,
    geometry: Geometry,
    curvature: CurvatureConfig,
    config: LimitConfig,
    budget: Budget,
    carried: Carried,
) -> Sampled:
    """A first reading on enough samples: those that carry most for the GGN, a uniform draw for the
    Hessian."""
    if operator_of(curvature.curvature).samples == "carrying":
        return _carrying(path, geometry, curvature, config, budget, carried)
    return _drawn(path, geometry, curvature, config, budget)


def _carrying(
    path: PruningPath,
    geometry: Geometry,
    curvature: CurvatureConfig,
    config: LimitConfig,
    budget: Budget,
    carried: Carried,
) -> Sampled:
    """A first reading on the samples that carry most, and by how much the others would lower it.

    Where the user gives no number, it is what should leave half of the tolerance open. It is at
    least :data:`FIRST_SAMPLES`, and at most :data:`DEFAULT_SAMPLES` or what leaves half of the
    time.
    """
    everything = len(carried.traces)
    count = _enough(config, budget, carried) if curvature.samples is None else curvature.samples
    count = everything if count == 0 else min(count, everything)
    count = max(count, min(everything, budget.group.size))

    def read(number: int, coarse: bool = False) -> tuple[Estimate, Limits]:
        opened = open_curvature(
            path.problem, curvature, budget, split=carried.first(number), count=everything
        )
        opened.share = number / max(1, count)
        estimate = Estimate(path, geometry, opened, config, coarse=coarse)
        return estimate, estimate.read(guess)

    guess: dict[Key, Transition] | None = None
    left = 1 - carried.share(count)
    fewer = carried.count(1 - min(NESTED * left, (1 + left) / 2))
    fewer = min(max(fewer, FEWEST, budget.group.size), count)
    nested: list[NestedLimit] = []
    smaller: Limits | None = None
    room = budget.products_left()
    if room is not None and room < 3 * FIRST_PRODUCTS:
        fewer = count  # no products for a second reading: the slope counts as known
    if not config.no_drift and left > 0 and fewer < count:
        # The fewer samples come first. Their vectors and graphs then make room for those of more.
        estimate, smaller = read(fewer, coarse=True)
        nested.append(_nested(estimate, smaller))
        estimate.retire()
        guess = smaller.transitions
        del estimate
    estimate, limits = read(count)
    leaning = _leaning(estimate, limits)
    drift: dict[Key, int] = {}
    slack: dict[Key, int] = {}
    if smaller is None and left > 0 and not config.no_drift:
        drift = {
            key: math.ceil(SLOPE * left * each.top) for key, each in limits.transitions.items()
        }
    if smaller is not None:
        nested.append(_nested(estimate, limits))
        times = left / (1 - carried.share(fewer) - left)
        for key, each in limits.transitions.items():
            before = smaller.transitions[key]
            drift[key] = math.ceil(times * max(0, before.removed - each.removed))
            if before.removed >= SATURATED * before.top:  # so few samples tell no slope
                slack[key] = math.ceil(SLOPE * left * each.top)
    return Sampled(
        estimate, limits, drift, tuple(nested), True, carried.share(count), leaning, slack
    )


def _leaning(estimate: Estimate, limits: Limits) -> dict[Key, int]:
    """How many fewer weights could go by the directional limits if the prunable weights alone were
    free. Empty if the budget does not allow this reading."""
    budget, curvature = estimate.curvature.budget, estimate.curvature
    left = budget.products_left()
    prunable = estimate.geometry.prunable
    if prunable == estimate.geometry.dimension:
        return {key: 0 for key in limits.transitions if _by_direction(key)}
    if budget.ended() is not None or (left is not None and left < FIRST_PRODUCTS):
        return {}
    alone = Estimate(
        estimate.path,
        dataclasses.replace(estimate.geometry, dimension=prunable),
        curvature.of_prunable(),
        estimate.config,
        coarse=True,
    )
    found = alone.read(limits.transitions)
    alone.retire()
    return {
        key: max(0, each.removed - found.transitions[key].removed)
        for key, each in limits.transitions.items()
        if _by_direction(key)
    }


def _by_direction(key: Key) -> bool:
    """Whether a formula looks at the direction that is removed."""
    return bool(plugins.find("formula", key[0]).by_direction)


def _enough(config: LimitConfig, budget: Budget, carried: Carried) -> int:
    """The number of samples whose error should be half of the tolerance, as far as time allows."""
    everything = len(carried.traces)
    tolerance = config.tolerance
    wanted = max(FIRST_SAMPLES, carried.count(1 - tolerance / 2 / SLOPE))
    most = DEFAULT_SAMPLES
    seconds = budget.seconds_left()
    if seconds is not None and budget.seconds_per_sample is not None:
        each = PRODUCT_EVALUATIONS * budget.seconds_per_sample
        affordable = int(seconds / 2 / (FIRST_PRODUCTS * each))
        most = max(FEWEST, affordable)
    most = budget.group.all_reduce_min(most, budget.device)
    return everything if everything <= 2 * FIRST_SAMPLES <= most else min(wanted, most, everything)


def _drawn(
    path: PruningPath,
    geometry: Geometry,
    curvature: CurvatureConfig,
    config: LimitConfig,
    budget: Budget,
) -> Sampled:
    """A first reading on a uniform draw.

    Where the user gives no number, one is chosen by the headline's drift. That should be half of
    the tolerance, or a share of what the depth leaves open. Both parts of it are taken to fall like
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
        estimate = Estimate(path, geometry, open_curvature(path.problem, given, budget), config)
        limits = estimate.read(guess)
        alone = budget.group.size * PARTS
        if (
            config.no_drift
            or count >= everything
            or count < alone
            or budget.stop_reason is not None
        ):
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
    """The error that the present samples leave in every limit, from their quarters."""
    curvature, problem = estimate.curvature, estimate.path.problem
    split, count, everything = curvature.split, len(curvature.split), len(problem.train)
    order = torch.randperm(count, generator=generator(problem.seed, "quarters"))
    # Only the limits of each part are kept. Vectors and graphs make room for those of the next.
    read: list[dict[Key, Transition]] = []
    seconds: list[float] = []
    for part in range(PARTS):
        block = SplitSubset(split, order[part::PARTS].sort().values)
        config = dataclasses.replace(curvature.config, cross_check=False)
        opened = open_curvature(problem, config, curvature.budget, split=block)
        opened.label, opened.share = f"part {part} of {count}", len(block) / count
        quarter = Estimate(estimate.path, estimate.geometry, opened, estimate.config, coarse=True)
        found = quarter.read(limits.transitions)
        read.append(found.transitions)
        seconds.append(_nested(quarter, found).seconds)
        quarter.retire()
        del opened, quarter, found
        if curvature.budget.stop_reason is not None:
            break
    if len(read) < 2:
        return {}, []
    level, rest = 0.5 + estimate.config.confidence / 2, 1 - count / everything
    drift = {}
    for key, each in limits.transitions.items():
        removed = np.array([found[key].removed for found in read])
        # The n samples are the quarters together. So their limit scatters like the mean of so many.
        deviation = float(removed.std(ddof=1)) / math.sqrt(PARTS)
        random = float(stdtrit(len(read) - 1, level)) * deviation * math.sqrt(rest)
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
    """The number of samples to go on with. It is the present one if that is enough, or is all that
    may be used."""
    estimate, budget = found.estimate, found.estimate.curvature.budget
    count = len(estimate.curvature.split)
    headline, prunable = estimate.headline(found.limits), estimate.geometry.prunable
    open_yet = headline.errors["depth"] + headline.errors["direction"]
    enough = max(estimate.config.tolerance * prunable / 2, WORTH * open_yet)
    most = everything if budget.max_seconds is not None else min(everything, DEFAULT_SAMPLES)
    more = count
    while found.drift[estimate.key] * _falls(count, more, everything) > enough and more < most:
        more = everything if 4 * more >= everything else 2 * more
        more = min(more, most)
    while more > count and not _affordable(more / count, estimate, budget):
        more = max(count, more // 2)
    return more


def _falls(count: int, more: int, everything: int) -> float:
    """Factor by which the drift of ``count`` samples is multiplied with ``more`` of them."""
    return math.sqrt(count / more * (1 - more / everything) / (1 - count / everything))


def _nested(estimate: Estimate, limits: Limits) -> NestedLimit:
    curvature = estimate.curvature
    return NestedLimit(
        samples=len(curvature.split),
        sparsity=estimate.headline(limits).removed / estimate.geometry.prunable,
        seconds=curvature.product.seconds / max(1, curvature.product.products),
    )


def _affordable(times: float, estimate: Estimate, budget: Budget) -> bool:
    """Whether a first reading of ``times`` as many samples, and of their quarters, leaves half of
    the budget."""
    if budget.ended() is not None:
        return False
    needed = 2 * FIRST_PRODUCTS
    if budget.max_products is not None and budget.products + needed > budget.max_products / 2:
        return False
    left = budget.seconds_left()
    if left is None:
        return True
    product = estimate.curvature.product
    seconds = times * needed * product.seconds / max(1, product.products)
    return bool(budget.group.all_reduce_min(int(seconds < left / 2), budget.device))
