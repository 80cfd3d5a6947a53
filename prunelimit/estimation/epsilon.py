"""The loss tolerance by any rule; that of an accuracy is read off the one-shot pruning path."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np

from ..errors import UsageError
from ..inputs.loss import is_cross_entropy, name_of
from ..inputs.problem import Evaluation, Problem, evaluate
from ..limit.one_shot import COARSE, Rise
from ..limit.tolerance import advice, loss_tolerance, require_samples
from ..progress import Progress, silent
from ..pruning.magnitude import keep_mask, magnitude_order, pruned_weights
from ..results.types import Epsilon
from ..values import EpsilonRule

__all__ = ["require_rule", "tolerance_of"]

HELD_OUT_SHARE = 10
"""One in so many training samples judges accuracy."""
LEAST_HELD_OUT = 1_000
"""At least so many judge it, if the training split has twice as many; else the whole split does."""
MOST_LOSSES = 10_000
"""The loss rise is read on so many training samples, drawn by seed, or on all if there are
fewer."""
RESOLUTION = 0.001
"""Fraction of the prunable weights to which the crossing is found."""
PARTS = 10
"""Parts into which a range of sparsities is cut, again and again, to be tried in turn."""
CONFIDENCE = 0.95
PLANNED = 35
"""Number of evaluations, about, for the progress line."""


def tolerance_of(
    problem: Problem, rule: EpsilonRule, train: Evaluation, *, progress: Progress = silent
) -> Epsilon:
    """The loss tolerance of ``rule`` in nats, greater than zero, the same for the same seed.

    ``train`` is the dense network on all training samples. A rule such as ``0.5pp`` follows the
    path of plain one-shot magnitude pruning to where accuracy has first fallen by so much. The
    tolerance is the rise of the training loss there. Accuracy is judged on held-out samples, which
    are a part of the training split and never of the test split. They are a tenth, drawn by the
    problem's seed, and at least 1,000. They are all training samples where there are fewer than
    2,000. The network may have been trained on them, so it may lose more accuracy elsewhere. The
    rise is that of all training samples, or of 10,000 drawn by the seed where there are more.
    ``interval`` covers, at 95%, the paired sampling error of the fall in accuracy, the spacing of
    the sparsities, and the choice of the 10,000.

    The tolerance decides only which of the tried sparsities hold. So a larger tolerance never
    crosses at a smaller sparsity. It is larger in nats too, unless the loss falls again on the way.

    Every other rule is one of :func:`~prunelimit.limit.tolerance.loss_tolerance`. ``note`` is what
    :func:`~prunelimit.limit.tolerance.advice` has to say.

    Raises:
        UsageError: the rule makes no sense or gives nothing greater than zero, accuracy never falls
            so far, or no weight is prunable.
        NumericalError: a dense loss is not finite.
    """
    require_rule(problem, rule, train.points)
    if rule.kind == "accuracy":
        return _of_accuracy(problem, rule, train, progress)
    found = loss_tolerance(train.losses, rule)
    if not is_cross_entropy(problem.loss) or not train.points:
        return found
    return advice(found, train.loss, train.accuracy)


def require_rule(problem: Problem, rule: EpsilonRule, points: bool) -> None:
    """Refuse a rule that :func:`tolerance_of` refuses whatever the losses are. ``points`` is that
    of an :class:`~prunelimit.inputs.problem.Evaluation`.

    Raises:
        UsageError: it needs more training samples, or a metric from 0 to 1.
    """
    require_samples(rule, len(problem.train))
    if rule.kind == "accuracy" and not points:
        raise UsageError(
            f"`epsilon` {rule} is in percentage points, and the metric {name_of(problem.metric)} "
            "has no points, as it is not from 0 to 1; give batch-std, a number, or a percentage "
            "such as 5%."
        )


def _of_accuracy(
    problem: Problem, rule: EpsilonRule, train: Evaluation, progress: Progress
) -> Epsilon:
    fall = rule.value
    path = _Path(problem, train, progress)
    _, crossed = path.first(fall, 0)
    if crossed is None:
        raise UsageError(
            f"`epsilon` {rule}: accuracy on {path.held_out:,} training samples never falls by that "
            "much, whatever is pruned; give fewer percentage points, or a number of nats."
        )
    rise = path.rise(crossed)
    where = (
        f"where accuracy has fallen by that much, at a sparsity of {crossed / path.prunable:.2%}"
    )
    if not math.isfinite(rise.mean):
        raise UsageError(
            f"`epsilon` {rule}: the training loss is not finite {where}; give fewer percentage "
            "points, or a number of nats."
        )
    if not rise.mean > 0:
        raise UsageError(
            f"`epsilon` {rule}: the training loss has not risen {where}; give more percentage "
            "points, or a number of nats."
        )
    lowest, _ = path.first(fall, 1)
    _, highest = path.first(fall, -1)
    below, above = path.rise(lowest), path.rise(path.prunable if highest is None else highest)
    path.done()
    return Epsilon(
        value=rise.mean,
        rule=str(rule),
        interval=(
            max(0.0, min(each.mean - path.z * each.standard_error for each in (below, rise))),
            max(each.mean + path.z * each.standard_error for each in (above, rise)),
        ),
        sparsity=crossed / path.prunable,
        held_out=path.held_out,
    )


class _Path:
    """Accuracy and loss along the path of global magnitude pruning, each place evaluated once."""

    def __init__(self, problem: Problem, train: Evaluation, progress: Progress) -> None:
        self._problem, self._progress = problem, progress
        self._order = magnitude_order(problem)
        self.prunable = len(self._order)
        if not self.prunable:
            raise UsageError("No weight of the network is prunable; give fewer `exclude` patterns.")
        self._samples = len(problem.train)
        few = self._samples < 2 * LEAST_HELD_OUT
        share = -(-self._samples // HELD_OUT_SHARE)
        self.held_out = self._samples if few else max(LEAST_HELD_OUT, share)
        self._judging = problem.train.subset(self.held_out, problem.seed)
        self._losing = problem.train.subset(MOST_LOSSES, problem.seed)
        self._dense = train if few else evaluate(problem, self._judging)
        all_lose = self._samples <= MOST_LOSSES
        self._losses = train.losses if all_lose else evaluate(problem, self._losing).losses
        self._falls: dict[int, tuple[float, float]] = {0: (0.0, 0.0)}
        self._rises: dict[int, Rise] = {0: Rise(0.0, 0.0)}
        self.z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)

    def first(self, fall: float, side: int) -> tuple[int, int | None]:
        """Two numbers of removed weights. At the first, the last place tried, accuracy has not yet
        fallen by ``fall``. At the second it has; None if it never does. ``side`` 1 or -1 adds or
        subtracts the sampling error of the fall."""
        # Shares of samples are sums of 1/n: a fall of exactly so much is one.
        slack = 1e-12

        def fallen(removed: int) -> bool:
            mean, error = self._fall(removed)
            return mean + side * self.z * error >= fall - slack

        low, high = _scan(fallen, 0, [round(share * self.prunable) for share in COARSE])
        while high is not None and high - low > max(1.0, RESOLUTION * self.prunable):
            width = high - low
            low, high = _scan(fallen, low, [low + width * k // PARTS for k in range(1, PARTS + 1)])
        return low, high

    def rise(self, removed: int) -> Rise:
        """The rise of the training loss, on the samples that stand for all."""
        if removed not in self._rises:
            # A loss that overflows is an infinite rise. Whoever needs the rise reports that.
            after = self._evaluation(removed, losing=True).losses
            self._rises[removed] = Rise.of(self._losses, after, self._samples)
        return self._rises[removed]

    def done(self) -> None:
        """Tell the progress line that it is done."""
        looked = len(self._falls) + len(self._rises) - 2
        self._progress("finding the tolerance", looked, looked)

    def _fall(self, removed: int) -> tuple[float, float]:
        """The fall of accuracy (fraction), with its paired standard error."""
        if removed not in self._falls:
            after = self._evaluation(removed, losing=False).correct
            change = self._dense.correct.astype(np.float64) - after
            error = float(change.std(ddof=1)) / math.sqrt(len(change)) if len(change) > 1 else 0.0
            self._falls[removed] = float(change.mean()), error
        return self._falls[removed]

    def _evaluation(self, removed: int, *, losing: bool) -> Evaluation:
        looked = len(self._falls) + len(self._rises) - 2
        self._progress("finding the tolerance", looked, max(PLANNED, looked + 1))
        weights = pruned_weights(self._problem, keep_mask(self._problem, self._order, removed))
        return evaluate(self._problem, self._losing if losing else self._judging, weights)


def _scan(fallen: Callable[[int], bool], low: int, places: list[int]) -> tuple[int, int | None]:
    """The last of ``places``, or ``low``, before the first that has fallen, and that one."""
    for place in places:
        if place <= low:
            continue
        if fallen(place):
            return low, place
        low = place
    return low, None
