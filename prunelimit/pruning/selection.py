"""A method's masks: which weights stay at any sparsity, and how obs moves the survivors."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from .. import plugins
from ..devices import wide
from ..errors import UsageError
from ..inputs.problem import Problem, Split
from ..progress import Progress, silent
from ..values import KeepRule, Method
from .allocation import Allocator
from .criteria.obs import CRITERION as OBS
from .criterion import Criterion, Scores
from .custom import find_criterion
from .layers import flat_mask, prunable_layers, prunable_part
from .magnitude import pruned_weights
from .pattern import pattern_kept, pattern_order

__all__ = ["NO_GUARD", "Selection"]

NO_GUARD = KeepRule("count", 0)
"""A layer may be left empty."""


class Selection:
    """Masks of ``problem`` by ``method``, from one reading of its scores.

    ``criterion``, if given, replaces the method's own. ``calibration`` training samples are read,
    drawn by the problem's seed; None is as many as the criterion usually reads, 0 is all.

    Raises:
        UsageError: there is no such criterion or allocation, or a number makes no sense.
    """

    def __init__(
        self,
        problem: Problem,
        method: Method | None = None,
        *,
        criterion: Criterion | None = None,
        calibration: int | None = None,
        min_keep: KeepRule = NO_GUARD,
        progress: Progress = silent,
    ) -> None:
        if calibration is not None and calibration < 0:
            raise UsageError(
                f"`calibration` is {calibration}; give the number of samples, or 0 for all."
            )
        self.problem = problem
        self.method = Method() if method is None else method
        self.criterion = find_criterion(self.method.criterion) if criterion is None else criterion
        self.allocation = self.method.allocation or self.criterion.allocation
        tiled = self.method.pattern is not None and not self.method.decided
        if tiled and plugins.named("allocation", self.allocation).facts.get("chooses", False):
            self.allocation = "uniform"  # the criterion's own, without its choice of weights
        reading = OBS if self.method.survivors == "obs" else self.criterion
        count = reading.samples(problem) if calibration is None else calibration
        self.split: Split = problem.train.subset(count, problem.seed)
        self.min_keep = min_keep
        self.progress = progress
        self.products = 0
        """Curvature products that the criterion spent, each over the samples read."""
        self.passes = 0.0
        """Passes over the samples read that a criterion which trains took."""
        self._judged: tuple[Tensor, Scores] | None = None

    @property
    def calibration(self) -> int:
        """How many training samples were read; 0 where the weights alone decide."""
        reads = any(
            each.reads != "weights"
            for each in (self.criterion, plugins.find("allocation", self.allocation))
        )
        return len(self.split) if reads or self.method.survivors == "obs" else 0

    @cached_property
    def scored(self) -> Scores:
        """The criterion's scores of the network."""
        return self._counted(self.problem)

    @cached_property
    def allocator(self) -> Allocator:
        """The allocation for these scores, or for the order that a pattern makes from them."""
        return self._allocator(self.problem, self._ordered(self.problem, self.scored.scores))

    @cached_property
    def removable(self) -> int:
        """How many weights can go: as many as the pattern, or the guard of every layer, allows."""
        if self.method.pattern is not None and self.method.decided:
            kept = pattern_kept(self.problem, self.scored.scores, self.method.pattern)
            return int((~kept).sum())
        sizes = [layer.size for layer in prunable_layers(self.problem)]
        if self.min_keep.kind == "auto":
            return sum(sizes)
        return sum(sizes) - sum(self.min_keep.counts(sizes, 0))

    def mask(self, remove: int) -> Tensor:
        """True where an entry of the flat free vector is kept; bool, (D,), ``remove`` of them
        False.

        Raises:
            UsageError: fewer than ``remove`` weights can go.
        """
        scores = self.scored.scores
        kept = self._kept(self.problem, scores, remove, lambda: self.allocator)
        return flat_mask(self.problem, kept)

    def following(
        self, weights: Tensor, kept: Tensor, remove: int, network: Callable[[], Problem]
    ) -> Tensor:
        """The mask of a pruned network that loses more; bool, (D,), ``remove`` of them False.

        ``weights`` (D,) are the pruned network's parameters, ``kept`` (bool, (D,)) says which are
        left, and ``network()`` is its problem. Its weights are scored anew. What is removed stays
        removed.

        Raises:
            UsageError: fewer than ``remove`` weights can go.
        """
        if bool(kept.all()):
            return self.mask(remove)
        plain = self.criterion.name == "magnitude"
        looks = plugins.find("allocation", self.allocation).of_network
        now = self.problem if plain and not looks else network()
        scores = prunable_part(now, wide(weights).abs()) if plain else self._scored(weights, now)
        left = prunable_part(self.problem, kept).to(scores.device)
        # Removed weights go first, whatever scores a criterion gives to zeros.
        scores = self._ordered(now, torch.where(left, scores, -torch.inf))
        found = self._kept(now, scores, remove, lambda: self._allocator(now, scores))
        revived = found & ~left
        if bool(revived.any()):
            # If the allocation would keep more of a layer than it has, the other layers keep more
            # instead.
            found &= left
            order = torch.where(left & ~found, scores, -torch.inf).argsort(descending=True)
            found[order[: int(revived.sum())]] = True
        return flat_mask(self.problem, found)

    def weights(self, mask: Tensor) -> Tensor:
        """The free parameters (D,) under ``mask`` (D,): zero where it is False. The others stay as
        they are, or are moved if survivors are "obs"."""
        if self.method.survivors != "obs":
            return pruned_weights(self.problem, mask)
        update = self._obs.update
        assert update is not None
        return update(mask)

    @cached_property
    def _obs(self) -> Scores:
        if self.criterion is OBS:
            return self.scored
        return OBS.judge(self.problem, self.split, self.problem.seed, self.progress)

    def _allocator(self, problem: Problem, scores: Tensor) -> Allocator:
        return Allocator(problem, scores, self.allocation, self.split, progress=self.progress)

    def _ordered(self, problem: Problem, scores: Tensor) -> Tensor:
        """``scores``, or those that a pattern of any amount makes from them."""
        if self.method.pattern is None or self.method.decided:
            return scores
        return pattern_order(problem, scores, self.method.pattern)

    def _scored(self, weights: Tensor, problem: Problem) -> Tensor:
        """Scores of the network with ``weights``. The last scores are kept, in case a shorter cut
        is tried."""
        if self._judged is None or self._judged[0] is not weights:
            self._judged = weights, self._counted(problem)
        return self._judged[1].scores

    def _counted(self, problem: Problem) -> Scores:
        found = self.criterion.judge(problem, self.split, self.problem.seed, self.progress)
        self.products += found.products
        self.passes += found.passes
        return found

    def _kept(
        self, problem: Problem, scores: Tensor, remove: int, allocator: Callable[[], Allocator]
    ) -> Tensor:
        """True where a prunable weight stays; bool, (P,), ``remove`` of them False."""
        if not 0 <= remove <= self.removable:
            guard = "pattern" if self.method.decided else "min_keep"
            raise UsageError(
                f"{remove} weights cannot be removed, only 0 to {self.removable}; give a smaller "
                f"`amount`, or another `{guard}`."
            )
        if self.method.pattern is not None and self.method.decided:
            allowed = pattern_kept(problem, scores, self.method.pattern)
            order = torch.where(allowed, torch.inf, scores).argsort(stable=True)
            kept = torch.ones_like(allowed)
            kept[order[:remove]] = False
            return kept
        found = allocator()
        floors = self.min_keep.counts([layer.size for layer in found.layers], remove)
        return found.kept(remove, floors)
