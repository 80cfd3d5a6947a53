"""The sparsest network whose accuracy stays near that of the dense one."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import torch

from ..config import PruneConfig
from ..distributed import ALONE, Group
from ..errors import UsageError
from ..inputs.loss import name_of
from ..inputs.problem import Evaluation, Problem, evaluate
from ..inputs.splits import SplitSubset
from ..progress import Progress, silent
from ..randomness import generator
from ..storage.steps import Steps
from ..values import EpsilonRule
from .drop import Drop, paired_drop
from .networks import Network, Networks, goal
from .search import BEYOND, SPACING

__all__ = ["Sparsest", "held_out", "sparsest"]

SHARE = 10
"""One in so many training samples judges."""
LEAST = 1_000
"""At least so many judge, if there are twice as many; else half of them."""
FEWEST = 4
"""Fewer training samples are refused."""
FINE = 0.001
"""Share of the prunable weights to which the crossing is found."""
OF_SURVIVORS = 0.03
"""The same as a share of the survivors; the smaller of the two counts."""
ERRORS = 1.0
"""A network is taken if its drop plus so many standard errors is within the tolerance."""


@dataclass(frozen=True)
class Sparsest:
    """The ``network`` that was chosen, its number of ``removed`` weights, and its ``drop`` on the
    ``held_out`` training samples. ``tried`` is the number of sparsities tried. Up to ``by_drop``
    removed weights, the drop of some network was within, if not with its error."""

    network: Network
    networks: Networks
    removed: int
    drop: Drop
    held_out: int
    tried: int
    by_drop: int


def held_out(problem: Problem) -> tuple[Problem, SplitSubset]:
    """``problem`` without some training samples, and the samples held out.

    A tenth, drawn by the problem's seed; at least 1,000, or half where there are fewer than 2,000.

    Raises:
        UsageError: there are fewer than :data:`FEWEST` training samples.
    """
    everything = len(problem.train)
    count = max(math.ceil(everything / SHARE), min(LEAST, everything // 2))
    if everything < FEWEST:
        raise UsageError(
            f"`within` needs at least {FEWEST} training samples, to hold some of them out, and "
            f"here are {everything}; give an `amount`."
        )
    order = torch.randperm(everything, generator=generator(problem.seed, "held out"))
    rest = SplitSubset(problem.train, order[count:].sort().values)
    return dataclasses.replace(problem, train=rest), SplitSubset(problem.train, order[:count])


def sparsest(
    problem: Problem,
    config: PruneConfig,
    epsilon: EpsilonRule,
    within: float,
    *,
    group: Group = ALONE,
    steps: Steps | None = None,
    progress: Progress = silent,
) -> Sparsest:
    """The sparsest network of ``config``'s method that loses no more than ``within``, a fraction.

    Accuracy is judged on training samples that nothing else reads: not scores, not calibration, not
    the training of survivors. The dense network may have learnt them, so a test split can lose
    more. The drop plus one standard error has to be within the tolerance. Sparsities grow until two
    fail by more than that error. If survivors are staged, each network goes on from the one before.
    Then the crossing is bisected. The processes of ``group`` share the moving of survivors.
    Networks are kept in ``steps``, as in :class:`~prunelimit.measurement.networks.Networks`.

    Raises:
        PruneLimitError: see its subclasses.
    """
    rest, judging = held_out(problem)
    dense = evaluate(problem, judging)
    if not dense.points:
        raise UsageError(
            f"`within` is in percentage points, and the metric {name_of(problem.metric)} has no "
            "points, as it is not from 0 to 1; give an `amount`."
        )
    rule, target = goal(rest, config, epsilon)
    networks = Networks(
        rest,
        config.method,
        config,
        epsilon=rule,
        target_loss=target,
        min_keep=config.min_keep,
        group=group,
        steps=steps,
        progress=progress,
    )
    search = _Search(networks, judging, dense, within, progress)
    removed = search.run()
    by_drop = max((at for at, drop in search.drops.items() if drop.mean <= within), default=0)
    return Sparsest(
        network=search.best if removed else networks.at(0),
        networks=networks,
        removed=removed,
        drop=search.drops[removed] if removed else Drop(0.0, 0.0),
        held_out=len(judging),
        tried=len(search.drops),
        by_drop=max(removed, by_drop),
    )


class _Search:
    """The largest number of removals that holds; ``best`` is its network."""

    best: Network

    def __init__(
        self,
        networks: Networks,
        judging: SplitSubset,
        dense: Evaluation,
        within: float,
        progress: Progress,
    ) -> None:
        self.networks = networks
        self.drops: dict[int, Drop] = {}
        self._judging, self._dense, self._within = judging, dense, within
        self._progress = progress
        self._most = -1

    def run(self) -> int:
        """How many weights go."""
        kept, fewest = self.networks.prunable, self.networks.prunable - self.networks.top
        low, high, failed = 0, None, 0
        while kept > fewest and failed < BEYOND:
            kept = max(fewest, min(kept - 1, round(kept * SPACING)))
            removed = self.networks.prunable - kept
            if self._holds(removed):
                low, high, failed = removed, None, 0
            else:
                high = removed if high is None else high
                failed += self._beyond(removed)
        while high is not None and not self._near(low, high):
            left = [self.networks.prunable - each for each in (low, high)]
            middle = self.networks.prunable - round(math.sqrt(left[0] * max(left[1], 0.5)))
            middle = min(high - 1, max(low + 1, middle))
            if self._holds(middle):
                low = middle
            else:
                high = middle
        self._progress("finding the sparsest", len(self.drops), len(self.drops))
        return low

    def _beyond(self, removed: int) -> bool:
        """Whether its drop is beyond the tolerance by more than its error. A failure by the error
        alone says little of higher sparsities."""
        drop = self.drops[removed]
        return drop.mean - ERRORS * drop.standard_error > self._within

    def _near(self, low: int, high: int) -> bool:
        left = self.networks.prunable - high
        return high - low <= max(1.0, min(FINE * self.networks.prunable, OF_SURVIVORS * left))

    def _holds(self, removed: int) -> bool:
        network = self.networks.at(removed)
        after = evaluate(network.problem, self._judging, network.weights)
        drop = self.drops[removed] = paired_drop(self._dense, after)
        note = f"sparsity {removed / self.networks.prunable:.2%}, drop {100 * drop.mean:.2f} pp"
        self._progress("finding the sparsest", len(self.drops), len(self.drops) + 3, note)
        # Shares of samples are sums of 1/n: a drop of exactly the tolerance must hold.
        holds = drop.mean + ERRORS * drop.standard_error <= self._within + 1e-12
        if holds and removed > self._most:
            self.best, self._most = network, removed
        return holds
