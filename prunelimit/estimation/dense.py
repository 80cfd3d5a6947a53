"""The dense network evaluated, and whether a budget of time allows what follows."""

from __future__ import annotations

import dataclasses
import math
import time

from ..errors import UsageError
from ..inputs.problem import Evaluation, Problem, evaluate
from .budget import LEAST, Budget

__all__ = ["PATH_PRODUCTS", "evaluate_within", "require_products", "require_seconds"]

SETTLED = 0.5
"""Seconds of evaluation after which its speed counts as known."""

PATH_PRODUCTS = 5
"""Products needed for the model at a few sparsities."""

LEAST_PRODUCTS = 2 * LEAST + 1
"""Products of the shortest reading: a short process from a probe, and one for removed weights. The
latter begins with a product."""

LEAST_EVALUATIONS = 30 * 500
"""Samples evaluated, about, for the loss along the pruning path at its coarsest."""


def require_products(most: int | None, readings: int) -> None:
    """Refuse a budget of products that is too small for reading ``readings`` matrices.

    Raises:
        UsageError: it is too small; the message names the least.
    """
    least = readings * LEAST_PRODUCTS + PATH_PRODUCTS
    if most is not None and most < least:
        raise UsageError(
            f"`max_products` is {most}, and at least {least} are needed; give that or more."
        )


def evaluate_within(
    problem: Problem, budget: Budget, *, curvatures: bool
) -> tuple[Evaluation, float]:
    """Every training sample, with its output curvature if ``curvatures`` asks for it, and the
    accuracy on the test split (fraction). ``budget`` is told the speed.

    Raises:
        UsageError: the time allowed is less than the least that a prediction takes, which is named.
    """
    if budget.max_seconds is not None:  # whose plan takes the speed of an evaluation
        problem = dataclasses.replace(problem, cache=None)
    samples = len(problem.train)
    total = samples + len(problem.test)
    begin = time.monotonic()
    before = 0

    def watch(done: int) -> None:
        budget.progress("evaluating", before + done, total)
        taken = time.monotonic() - begin
        budget.seconds_per_sample = taken / (before + done)
        # Several processes are never at the same batch, so they ask each other once, at the end.
        if budget.group.size == 1 and (taken > SETTLED or budget.seconds_left() == 0):
            _refuse(budget, total, total - before - done)

    train = evaluate(problem, problem.train, curvatures=curvatures, on_batch=watch)
    before = samples
    accuracy = evaluate(problem, problem.test, on_batch=watch).accuracy
    _refuse(budget, total, 0)
    return train, accuracy


def _refuse(budget: Budget, total: int, left: int) -> None:
    """Raise where the time allowed cannot be kept with ``left`` of ``total`` samples to go."""
    remaining = budget.seconds_left()
    if remaining is None or budget.max_seconds is None or budget.seconds_per_sample is None:
        return
    needed = budget.seconds_per_sample * (left + min(total, LEAST_EVALUATIONS))
    # The clock of one process decides for all, so that they go on together.
    if budget.group.all_reduce_min(int(remaining >= needed), budget.device):
        return
    raise _too_short(budget.max_seconds, budget.max_seconds - remaining + needed)


def require_seconds(most: float | None, per_sample: float, total: int) -> None:
    """Refuse a time in which ``total`` samples, all there are, cannot be evaluated at the speed of
    ``per_sample`` seconds and the path be followed.

    Raises:
        UsageError: it is too short; the message names the least.
    """
    needed = per_sample * (total + min(total, LEAST_EVALUATIONS))
    if most is not None and most < needed:
        raise _too_short(most, needed)


def _too_short(most: float, needed: float) -> UsageError:
    return UsageError(
        f"`max_seconds` is {most:g}, and reading and evaluating the data takes about "
        f"{math.ceil(needed) + 1} seconds here; give that or more, or fewer `train_samples`."
    )
