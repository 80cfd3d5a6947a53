"""Accuracy and loss against sparsity, and the thresholds read from them, with their errors.

A threshold is the largest sparsity that holds a rule *at every sparsity up to it*. Accuracy is
only nearly monotone, so every crossing found by bisection is confirmed just below it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..config import MeasureConfig
from ..inputs.problem import Problem
from ..progress import Progress, silent
from ..results.types import Cost, Dense, Epsilon, MeasurePoint, Threshold, Witness
from ..storage.steps import Steps
from .points import Points
from .search import Search

__all__ = ["Measurement", "measure"]


@dataclass(frozen=True)
class Measurement:
    """What was measured. ``curve`` is in order of sparsity. ``allocation`` says how masks were
    shared among layers, ``calibration`` how many training samples were read for them. ``cost`` is
    what it took. ``witness`` is how far refit has converged, None for other methods."""

    dense: Dense
    epsilon: Epsilon
    curve: tuple[MeasurePoint, ...]
    thresholds: tuple[Threshold, ...]
    allocation: str
    calibration: int
    cost: Cost
    witness: Witness | None


def measure(
    problem: Problem,
    config: MeasureConfig,
    *,
    progress: Progress = silent,
    also: Sequence[float] = (),
    steps: Steps | None = None,
) -> Measurement:
    """Measure the thresholds of pruning ``problem`` by the method of ``config``.

    For all survivors but "trained" ones there are three kinds of thresholds. ``accuracy`` is there
    for every tolerance. ``dense-accuracy`` is the largest sparsity at least as accurate as dense.
    ``loss`` is where the mean training loss stays within epsilon of dense. The interval of an
    accuracy threshold covers the paired sampling error: the change of correctness of each test
    sample, normal at ``config.confidence``. The interval of the loss threshold is the pair that
    brackets it.

    Survivors that are "compensated" are moved from the dense network in one stage. Those that are
    "staged" go on from lower to higher sparsity. Their first sparsities are spaced by the survivors
    and end where every rule has failed. A crossing of staged survivors is refined by paths that
    branch off the last network below it. What is removed stays removed. So each point is a network
    that was reached on the way. It depends on the sparsities that were measured before.

    Survivors that are "trained" (:func:`prunelimit.training.refit.refit`) give ``feasibility``: the
    largest sparsity whose training loss comes within epsilon of dense, within four times
    ``config.refit_passes``. Its interval is [last feasible, first infeasible]. A budget can fail
    where a larger one would succeed, so the threshold is a lower bound. ``witness`` gives the
    threshold at one and two times the passes too. ``accuracy`` is that of the trained networks. It
    is read from the points at which feasibility was searched and no finer, since training ends
    where the loss is on target.

    The sparsities ``also`` (fractions) are measured beside those that the search asks for.
    Explicit ``config.sparsities`` are measured alone, and the thresholds read from them. A pattern
    ends where it allows nothing more to go. Below that, of the weights that the pattern does not
    allow, its masks lose those of least score. The ends of an interval are measured points, rounded
    outwards. If nothing that was measured fails, the upper end is the most that can go. Networks
    whose survivors are trained or moved in stages are kept in ``steps``; those already there are
    not made again.

    Raises:
        UsageError: a setting makes no sense, or nothing is prunable.
    """
    points = Points(problem, config, progress, steps)
    search = Search(points, config, config.tolerance)
    curve, thresholds = search.run(config.sparsities, also)
    return Measurement(
        dense=points.dense,
        epsilon=points.epsilon,
        curve=curve,
        thresholds=thresholds,
        allocation=points.networks.selection.allocation,
        calibration=points.calibration,
        cost=points.cost(),
        witness=search.witness(),
    )
