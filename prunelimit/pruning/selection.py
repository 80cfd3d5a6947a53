"""A criterion with an allocation: which weights stay at any sparsity, and what becomes of them."""

from __future__ import annotations

from functools import cached_property

from torch import Tensor

from ..errors import UsageError
from ..inputs.problem import Problem, Split
from ..progress import Progress, silent
from .allocation import Allocator, Pattern, check_allocation, pattern_kept
from .criteria import Criterion, Judgement, find_criterion
from .layers import flat_mask
from .magnitude import pruned_weights

__all__ = ["Selection"]


class Selection:
    """Masks of ``problem`` by the criterion ``method``, from one reading of its scores.

    ``method`` is a :class:`Criterion`, its name or FILE.py:ATTR; ``allocation`` is a name of
    ``allocation.ALLOCATIONS``, the criterion's own where None. ``calibration`` training samples are
    read, drawn by the problem's seed; None is as many as the criterion usually reads, 0 is all.

    Raises:
        UsageError: there is no such criterion or allocation, or a number makes no sense.
    """

    def __init__(
        self,
        problem: Problem,
        method: str | Criterion,
        *,
        allocation: str | None = None,
        calibration: int | None = None,
        min_keep: int = 0,
        progress: Progress = silent,
    ) -> None:
        if calibration is not None and calibration < 0:
            raise UsageError(f"--calibration is {calibration}; give 0 for all samples, or more.")
        self.problem = problem
        self.criterion = find_criterion(method) if isinstance(method, str) else method
        self.allocation = allocation or self.criterion.allocation
        check_allocation(self.allocation)
        count = self.criterion.samples(problem) if calibration is None else calibration
        self.split: Split = problem.train.subset(count, problem.seed)
        self.min_keep = min_keep
        self.progress = progress

    @property
    def calibration(self) -> int:
        """How many training samples were read; 0 where the weights alone decide."""
        reads = self.criterion.reads != "weights" or self.allocation == "rd"
        return len(self.split) if reads else 0

    @cached_property
    def judgement(self) -> Judgement:
        """What the criterion makes of the network."""
        return self.criterion.judge(self.problem, self.split, self.problem.seed, self.progress)

    @cached_property
    def allocator(self) -> Allocator:
        """The allocation of its scores."""
        return Allocator(
            self.problem,
            self.judgement.scores,
            self.allocation,
            self.split,
            min_keep=self.min_keep,
            progress=self.progress,
        )

    @property
    def removable(self) -> int:
        """How many weights can go."""
        return self.allocator.removable

    @property
    def updates(self) -> bool:
        """Whether the criterion gives survivors new values."""
        return self.judgement.update is not None

    def mask(self, remove: int) -> Tensor:
        """True where an entry of the flat free vector is kept; bool, (D,), ``remove`` of them
        False.

        Raises:
            UsageError: fewer than ``remove`` weights can go.
        """
        return flat_mask(self.problem, self.allocator.kept(remove))

    def pattern_mask(self, pattern: Pattern) -> Tensor:
        """The mask that ``pattern`` leaves, whose count it decides itself; bool, (D,)."""
        return flat_mask(self.problem, pattern_kept(self.problem, self.judgement.scores, pattern))

    def weights(self, mask: Tensor) -> Tensor:
        """The free parameters (D,) under ``mask`` (D,): zero where it is False, and the others as
        they are or as the criterion's own update leaves them."""
        update = self.judgement.update
        return pruned_weights(self.problem, mask) if update is None else update(mask)
